"""The shell program behind a patch and a bundle. It runs inside a sandbox, one step a call; see git_files.py.

The history's objects are borrowed, not copied, so a large history costs nothing; refs and the ignore rules are copied. No
hook, filter or global setting takes part, and no file of the working tree is looked at by its name: contents lie
numbered in `contents`, whatever they are called, and only the rules of what git ignores and converts lie in `rules`.
"""

from __future__ import annotations

CONTENTS = "contents"
RULES = "rules"
OUT = "/tmp/remit"
CONVERSION_FAILED = "none"

GIT_SCRIPT = r"""
set -eu
step=$1; shift
history=/workspace/.git
out=/tmp/remit
export HOME=/tmp GIT_CONFIG_NOSYSTEM=1 GIT_CONFIG_GLOBAL=/dev/null GIT_TERMINAL_PROMPT=0 GIT_NO_LAZY_FETCH=1
export GIT_AUTHOR_NAME=Remit GIT_AUTHOR_EMAIL=remit@localhost
export GIT_COMMITTER_NAME=Remit GIT_COMMITTER_EMAIL=remit@localhost
export GIT_DIR=/tmp/remit.git

case $step in
open)  # numbered paths on stdin, their hashes into `oids`
  mkdir -p "$out" /workspace/rules
  format=$(git config -f "$history/config" extensions.objectformat || echo sha1)
  rm -rf "$GIT_DIR"
  git init -q --bare --object-format="$format" "$GIT_DIR"
  echo "$history/objects" > "$GIT_DIR/objects/info/alternates"
  for name in HEAD packed-refs shallow refs; do
    if [ -e "$history/$name" ]; then cp -RL "$history/$name" "$GIT_DIR/"; fi
  done
  chmod -R u+rwX "$GIT_DIR"
  if [ -f "$history/info/exclude" ]; then
    mkdir -p "$GIT_DIR/info"
    cp "$history/info/exclude" "$GIT_DIR/info/exclude"
  fi
  git config core.bare false
  git config core.hooksPath /dev/null
  git config core.logAllRefUpdates false
  git config core.autocrlf false
  git config core.fileMode true
  git config core.protectNTFS false
  git config core.protectHFS false
  git rev-parse -q --verify 'HEAD^{commit}' > "$out/base" || : > "$out/base"
  : > "$out/head"
  : > "$out/flags"
  if [ -s "$out/base" ]; then
    git ls-tree -r -z --full-tree HEAD > "$out/head"
    git read-tree HEAD
  fi
  if [ -f "$history/index" ]; then
    cp "$history/index" /tmp/remit.index
    GIT_INDEX_FILE=/tmp/remit.index git ls-files -t -z > "$out/flags" 2> /dev/null || : > "$out/flags"
  fi
  git hash-object -w --no-filters --stdin-paths > "$out/oids"
  ;;
ignored)  # paths on stdin, those that are ignored into `ignored`
  cd /workspace/rules
  git --work-tree=. check-ignore -z --stdin --no-index > "$out/ignored" || [ $? = 1 ]
  ;;
convert)  # pairs of path and number on stdin, the hashes as git would commit them into `converted`
  cd /workspace/rules
  : > "$out/converted"
  while IFS= read -r -d '' path && IFS= read -r -d '' number; do
    git --work-tree=. -c core.autocrlf=input -c core.safecrlf=false hash-object -w --path="$path" \
      "/workspace/contents/$number" >> "$out/converted" 2> /dev/null || echo none >> "$out/converted"
  done
  ;;
tree)  # edits of the index on stdin, the tree's hash into the named file
  git update-index -z --index-info
  git write-tree --missing-ok > "$out/$1"
  ;;
make)
  id=$1 message=$2
  export GIT_AUTHOR_DATE=$3 GIT_COMMITTER_DATE=$3
  base=$(cat "$out/base") input_tree=$(cat "$out/input_tree") result_tree=$(cat "$out/result_tree")
  if [ -n "$base" ] && [ "$(git rev-parse "$base^{tree}")" = "$input_tree" ]; then
    start=$base
  elif [ -n "$base" ]; then
    start=$(git commit-tree "$input_tree" -p "$base" -m "The input of $id, with changes that were not committed")
  else
    start=$(git commit-tree "$input_tree" -m "The input of $id")
  fi
  result=$(git commit-tree "$result_tree" -p "$start" -m "$message")
  branch="refs/heads/remit/$id"
  git update-ref "$branch" "$result"
  git diff --binary --full-index --no-ext-diff --no-textconv --no-renames "$start" "$result" > "$out/result.patch"
  if [ -n "$base" ]; then
    git bundle create -q "$out/result.bundle" "$branch" "^$base"
  else
    git bundle create -q "$out/result.bundle" "$branch"
  fi
  ;;
esac
"""
