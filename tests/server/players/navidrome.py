"""Calls functions of the plugin under Extism's runtime, as Navidrome does: JSON on standard input
and output.

    echo '[["nd_get_similar_artists", {"id": "1", "name": "Björk", "limit": 3}]]' |
        python3 navidrome.py voisin.ndp http://127.0.0.1:8766 TOKEN [SETTING=VALUE ...]

Only the host function http_send is ours; it follows Navidrome's documentation."""

import base64
import json
import sys
import time
import urllib.error
import urllib.request
import zipfile

import extism

archive, url, token, *more = sys.argv[1:]


class NoRedirects(urllib.request.HTTPRedirectHandler):
    def redirect_request(self, *_):
        return None


@extism.host_fn(name="http_send", namespace="extism:host/user")
def http_send(question: str) -> str:
    wanted = json.loads(question)["request"]
    assert wanted["noFollowRedirects"] is True
    request = urllib.request.Request(
        wanted["url"],
        base64.b64decode(wanted["body"]),
        wanted["headers"],
        method=wanted["method"],
    )
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}), NoRedirects)
    try:
        with opener.open(request, timeout=wanted["timeoutMs"] / 1000) as answer:
            status, body = answer.status, answer.read()
    except urllib.error.HTTPError as error:
        status, body = error.code, error.read()
    except Exception as error:
        return json.dumps({"error": str(error)})
    return json.dumps(
        {"result": {"statusCode": status, "headers": {}, "body": base64.b64encode(body).decode()}}
    )


with zipfile.ZipFile(archive) as files:
    json.loads(files.read("manifest.json"))
    wasm = files.read("plugin.wasm")
config = {name: value for name, value in [("url", url), ("token", token)] if value}
config |= dict(setting.split("=", 1) for setting in more)
plugin = extism.Plugin(wasm, wasi=True, config=config, functions=[http_send])
answers = []
for name, question in json.load(sys.stdin):
    assert plugin.function_exists(name), name
    start = time.monotonic()
    try:
        answer = {"answer": json.loads(plugin.call(name, json.dumps(question)))}
    except extism.Error as error:
        answer = {"error": str(error)}
    answers.append({**answer, "seconds": time.monotonic() - start})
print(json.dumps(answers))
