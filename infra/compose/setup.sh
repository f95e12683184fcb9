#!/bin/sh
# Makes, once, what must not be in a repository: the gateway's secret, and a key for each team that sends
# made-up traffic. Leaves them in the folder that is given.
set -eu
folder=$1
config=$folder/config.toml
[ -f "$config" ] && exit 0
SPENDSTREAM_KEY_SECRET=$(python -c 'import secrets; print(secrets.token_hex(32))')
export SPENDSTREAM_KEY_SECRET
umask 077
draft=$(mktemp "$folder/.config.XXXXXX")
printf 'key_secret = "%s"\n\n' "$SPENDSTREAM_KEY_SECRET" >"$draft"
for team in search support growth; do
    spendstream keys create "demo-$team" --team "$team" --org demo --environment production \
        >>"$draft" 2>"$folder/.words"
    sed -n 's/^    //p' "$folder/.words" >"$folder/$team.key"
    rm "$folder/.words"
done
mv "$draft" "$config"
