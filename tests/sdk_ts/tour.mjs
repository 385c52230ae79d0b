// A tour with the official TypeScript SDK against a Remit: node tour.mjs BASE_URL KEY
// Ends with 0 when every step did what it should; prints one JSON object with what was called.

import assert from "node:assert/strict";
import { createRequire } from "node:module";

// The SDK stands in a folder of its own (SDK_FOLDER), not beside this file.
const require = createRequire(`${process.env.SDK_FOLDER}/package.json`);
const { default: Anthropic, BadRequestError, NotFoundError } = require("@anthropic-ai/sdk");

const [baseURL, apiKey] = process.argv.slice(2);
const client = new Anthropic({ baseURL, apiKey, timeout: 30_000 });
const called = [];

const MODEL = "scripted/inline";
const STEPS = {
  steps: [
    {
      text: "I look.",
      tool_uses: [
        { name: "lookup", input: { question: "life" } },
        { name: "bash", input: { command: "echo hi" } },
      ],
    },
    { text: "It is 42." },
  ],
};

async function call(name, ...args) {
  const path = name.split(".");
  const method = path.pop();
  const resource = path.reduce((found, part) => found[part], client);
  called.push(name);
  return await resource[method](...args);
}

const message = (text) => ({ type: "user.message", content: [{ type: "text", text }] });

async function turn(sessionId) {
  const stream = await call("beta.sessions.events.stream", sessionId, { event_deltas: ["agent.message"] });
  await call("beta.sessions.events.send", sessionId, {
    events: [message("```script\n" + JSON.stringify(STEPS) + "\n```")],
  });
  const seen = [];
  for await (const event of stream) {
    seen.push(event.type);
    if (event.type === "agent.custom_tool_use") {
      const content = [{ type: "text", text: "42" }];
      const events = [{ type: "user.custom_tool_result", custom_tool_use_id: event.id, content }];
      await call("beta.sessions.events.send", sessionId, { events });
    }
    if (event.type === "agent.tool_use") {
      const events = [{ type: "user.tool_confirmation", tool_use_id: event.id, result: "allow" }];
      await call("beta.sessions.events.send", sessionId, { events });
    }
    if (event.type === "session.status_idle" && event.stop_reason.type === "end_turn") return seen;
  }
  throw new Error("the stream ended before the turn");
}

const agent = await call("beta.agents.create", {
  name: "typed",
  model: MODEL,
  tools: [
    { type: "agent_toolset_20260401", configs: [{ name: "bash", permission_policy: { type: "always_ask" } }] },
    {
      type: "custom",
      name: "lookup",
      description: "Look something up.",
      input_schema: { type: "object", properties: { question: { type: "string" } } },
    },
  ],
});
const updated = await call("beta.agents.update", agent.id, { version: agent.version, description: "Typed." });
assert.equal(updated.version, 2);
assert.equal((await call("beta.agents.retrieve", agent.id, { version: 1 })).description, null);
const listed = [];
for await (const one of client.beta.agents.list({ limit: 1 })) listed.push(one.id);
assert.ok(listed.includes(agent.id));
assert.equal((await call("beta.agents.versions.list", agent.id)).data.length, 2);

const environment = await call("beta.environments.create", { name: "typed" });
await call("beta.environments.update", environment.id, { description: "Typed." });
await call("beta.environments.retrieve", environment.id);
await call("beta.environments.list");

const session = await call("beta.sessions.create", { agent: agent.id, environment_id: environment.id });
assert.equal(session.status, "idle");
const seen = await turn(session.id);
assert.ok(seen.includes("event_delta"));
const events = await call("beta.sessions.events.list", session.id, { types: ["agent.message", "agent.tool_result"] });
assert.deepEqual(
  events.data.map((event) => event.content[0].text.trim()),
  ["I look.", "hi", "It is 42."],
);
assert.equal((await call("beta.sessions.update", session.id, { title: "Typed" })).title, "Typed");
assert.ok((await call("beta.sessions.retrieve", session.id)).usage.output_tokens > 0);
const page = await call("beta.sessions.list", { limit: 5, statuses: ["idle", "running"] });
assert.ok(page.data.some((one) => one.id === session.id));
const [thread] = (await call("beta.sessions.threads.list", session.id)).data;
await call("beta.sessions.threads.retrieve", thread.id, { session_id: session.id });

const upload = await call("beta.files.upload", { file: new File(["a,b\n1,2\n"], "data.csv", { type: "text/csv" }) });
assert.equal((await call("beta.files.retrieveMetadata", upload.id)).size_bytes, 8);
const added = await call("beta.sessions.resources.add", session.id, { type: "file", file_id: upload.id });
assert.equal(added.mount_path.startsWith("/mnt/session/uploads/"), true);
await call("beta.sessions.resources.list", session.id);
await call("beta.files.list", { scope_id: session.id });
assert.equal(await (await call("beta.files.download", upload.id)).text(), "a,b\n1,2\n");
assert.equal((await call("beta.files.delete", upload.id)).type, "file_deleted");

const prompt = "```script\n" + JSON.stringify({ steps: [{ text: "Hello, you." }] }) + "\n```";
const asked = { model: MODEL, max_tokens: 100, messages: [{ role: "user", content: prompt }] };
assert.equal((await call("messages.create", asked)).content[0].text, "Hello, you.");
const whole = await client.messages.stream(asked).finalMessage();
assert.equal(whole.content[0].text, "Hello, you.");
const { max_tokens, ...counted } = asked;
assert.ok((await call("messages.countTokens", counted)).input_tokens > 0);

await assert.rejects(client.beta.vaults.create({ display_name: "v" }), (error) => {
  assert.ok(error instanceof BadRequestError);
  assert.match(error.message, /client\.beta\.vaults\.create/);
  return true;
});
await assert.rejects(client.beta.sessions.retrieve("sesn_none"), (error) => {
  assert.ok(error instanceof NotFoundError);
  assert.ok(error.requestID);
  return true;
});

await call("beta.sessions.archive", session.id);
assert.equal((await call("beta.sessions.delete", session.id)).type, "session_deleted");
await call("beta.environments.archive", environment.id);
await call("beta.environments.delete", environment.id);
await call("beta.agents.archive", agent.id);

console.log(JSON.stringify({ called }));
