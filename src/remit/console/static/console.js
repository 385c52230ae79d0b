// Keeps a page up to date. The server sends elements as they are now; nothing is made from data here.
const state = document.getElementById("live-state");
const address = document.body.dataset.live;

function say(text, style) {
  state.textContent = text;
  state.className = `small ${style}`;
}

function opened(element) {
  return [...element.querySelectorAll("details[open][id]")].map((one) => one.id);
}

// Gives whether something was added at the end.
function put({ id, into, html }) {
  const template = document.createElement("template");
  template.innerHTML = html;
  const fresh = template.content.firstElementChild;
  const old = document.getElementById(id);
  if (old) {
    const open = new Set(opened(old));
    for (const details of fresh.querySelectorAll("details[id]")) {
      details.open = open.has(details.id);
    }
    old.replaceWith(fresh);
    return false;
  }
  const parent = into && document.getElementById(into);
  if (parent) parent.append(fresh);
  return Boolean(parent);
}

function isAtEnd() {
  const page = document.documentElement;
  return page.scrollHeight > window.innerHeight && window.scrollY + window.innerHeight >= page.scrollHeight - 40;
}

if (address) {
  const source = new EventSource(address);
  source.addEventListener("open", () => say("live", "good"));
  source.addEventListener("patch", (event) => {
    const follows = isAtEnd();
    if (put(JSON.parse(event.data)) && follows) window.scrollTo(0, document.documentElement.scrollHeight);
  });
  source.addEventListener("over", () => {
    source.close();
    say("over", "dim");
  });
  source.addEventListener("error", () => {
    if (source.readyState === EventSource.CLOSED) say("not live: open the link anew", "bad");
    else say("connecting again", "warn");
  });
}
