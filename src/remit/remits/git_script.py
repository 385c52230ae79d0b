"""The shell program that makes a patch and a bundle. It runs inside a sandbox; see deliverables.py.

Arguments: the remit's id, the commit message, its date, and where the input lies. The history's objects are borrowed,
not copied, so a large history costs nothing; refs and the ignore rules are copied. No hook, filter of ours or global
setting takes part. The input is committed first where it differs from HEAD, so the patch shows the agent's work alone.
"""

from __future__ import annotations

GIT_SCRIPT = r"""
set -eu
id=$1 message=$2 date=$3 input=$4
history=/workspace/.git
out=/tmp/remit
mkdir -p "$out"
export HOME=/tmp GIT_CONFIG_NOSYSTEM=1 GIT_CONFIG_GLOBAL=/dev/null GIT_TERMINAL_PROMPT=0
export GIT_AUTHOR_NAME=Remit GIT_AUTHOR_EMAIL=remit@localhost GIT_AUTHOR_DATE="$date"
export GIT_COMMITTER_NAME=Remit GIT_COMMITTER_EMAIL=remit@localhost GIT_COMMITTER_DATE="$date"

format=$(git config -f "$history/config" extensions.objectformat || echo sha1)
rm -rf /tmp/remit.git
git init -q --bare --object-format="$format" /tmp/remit.git
export GIT_DIR=/tmp/remit.git
echo "$history/objects" > "$GIT_DIR/objects/info/alternates"
for name in HEAD packed-refs shallow refs; do
  if [ -e "$history/$name" ]; then cp -RL "$history/$name" "$GIT_DIR/"; fi
done
chmod -R u+rwX "$GIT_DIR"
if [ -f "$history/info/exclude" ]; then mkdir -p "$GIT_DIR/info"; cp "$history/info/exclude" "$GIT_DIR/info/exclude"; fi
git config core.bare false
git config core.hooksPath /dev/null
git config core.logAllRefUpdates false
git config core.autocrlf false
git config core.fileMode true
git config advice.addEmbeddedRepo false

base=$(git rev-parse -q --verify 'HEAD^{commit}' || true)
git read-tree --empty
git --work-tree="$input" add -A -f -- .
input_tree=$(git write-tree)
if [ -n "$base" ] && [ "$(git rev-parse "$base^{tree}")" = "$input_tree" ]; then
  start=$base
elif [ -n "$base" ]; then
  start=$(git commit-tree "$input_tree" -p "$base" -m "The input of $id, with changes that were not committed")
else
  start=$(git commit-tree "$input_tree" -m "The input of $id")
fi
git --work-tree=/workspace add -A -- .
result_tree=$(git write-tree)
result=$(git commit-tree "$result_tree" -p "$start" -m "$message")
branch="refs/heads/remit/$id"
git update-ref "$branch" "$result"
git diff --binary --full-index --no-ext-diff --no-textconv --no-renames "$start" "$result" > "$out/result.patch"
if [ -n "$base" ]; then
  git bundle create -q "$out/result.bundle" "$branch" "^$base"
else
  git bundle create -q "$out/result.bundle" "$branch"
fi
git --work-tree=/workspace ls-files --others --ignored --exclude-standard -z > "$out/ignored"
"""
