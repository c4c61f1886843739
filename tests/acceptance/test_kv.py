"""`env.KV` through deployed functions: the runtime's own namespace, shared by a project and by nobody else."""

import threading
from collections.abc import Iterator

import httpx
import pytest

from tests.support.cases import CaseFailed, Cases
from tests.support.kapso import Kapso
from tests.support.projects import Project, new_project
from tests.support.server import Server

MIB = 1024 * 1024
CASES = """
const bytes = (n, seed) => Uint8Array.from({ length: n }, (_, i) => (i * 31 + seed) & 255);
const hash = async (data) => {
  const digest = await crypto.subtle.digest("SHA-256", data);
  return [...new Uint8Array(digest)].map((byte) => byte.toString(16).padStart(2, "0")).join("");
};
// Larger than what one call of getRandomValues gives, and not to be guessed.
const noise = (n) => {
  const data = new Uint8Array(n);
  for (let at = 0; at < n; at += 65536) crypto.getRandomValues(data.subarray(at, Math.min(at + 65536, n)));
  return data;
};

const cases = {
  put: (env, key, value, options) => env.KV.put(key, value, options),
  get: (env, key, type) => env.KV.get(key, type),
  getWithMetadata: (env, key, type) => env.KV.getWithMetadata(key, type),
  delete: (env, key) => env.KV.delete(key),
  list: (env, options) => env.KV.list(options),
  async bulk(env, keys, type) {
    const found = await env.KV.get(keys, type);
    return { isMap: found instanceof Map, values: Object.fromEntries(found) };
  },
  async bulkWithMetadata(env, keys) {
    return Object.fromEntries(await env.KV.getWithMetadata(keys));
  },
  async types(env, key) {
    await env.KV.put(key, '{"a":[1,2,3]}');
    const buffer = await env.KV.get(key, "arrayBuffer");
    const stream = await env.KV.get(key, { type: "stream" });
    return {
      default: await env.KV.get(key),
      text: await env.KV.get(key, "text"),
      json: await env.KV.get(key, "json"),
      jsonOption: await env.KV.get(key, { type: "json" }),
      arrayBuffer: [buffer instanceof ArrayBuffer, new TextDecoder().decode(buffer)],
      stream: [stream instanceof ReadableStream, await new Response(stream).text()],
    };
  },
  async putEveryKind(env, key) {
    const data = bytes(256, 7);
    const inputs = {
      buffer: data.buffer, view: data.subarray(10, 20), text: "tëxt ☃", stream: new Response(data).body,
    };
    const found = {};
    for (const [name, value] of Object.entries(inputs)) {
      await env.KV.put(key + name, value);
      found[name] = [...new Uint8Array(await env.KV.get(key + name, "arrayBuffer"))];
    }
    return found;
  },
  async large(env, key, size) {
    const data = noise(size);
    await env.KV.put(key, data);
    const back = await env.KV.get(key, "arrayBuffer");
    return { same: (await hash(data)) === (await hash(back)), size: back.byteLength };
  },
  async fill(env, prefix, from, to) {
    for (let at = from; at < to; at += 50) {
      await Promise.all(Array.from({ length: Math.min(50, to - at) }, (_, i) =>
        env.KV.put(prefix + String(at + i).padStart(5, "0"), "v", { metadata: { n: at + i } })));
    }
  },
  async pages(env, prefix, limit) {
    const sizes = [], names = [];
    let cursor, metadata = 0;
    do {
      const page = await env.KV.list({ prefix, limit, cursor });
      sizes.push(page.keys.length);
      for (const key of page.keys) { names.push(key.name); metadata += key.metadata.n; }
      if (page.list_complete !== (page.cursor === undefined)) throw new Error("cursor and list_complete disagree");
      cursor = page.cursor;
    } while (cursor);
    return { sizes, names, metadata };
  },
};
"""


@pytest.fixture(scope="module")
def home(server: Server, root: httpx.Client) -> Iterator[Project]:
    with new_project(server, root) as project:
        yield project


@pytest.fixture(scope="module")
def kv(home: Project) -> Cases:
    return Cases(Kapso(home.client), CASES)


def test_get_gives_every_type(kv: Cases) -> None:
    text, value = '{"a":[1,2,3]}', {"a": [1, 2, 3]}
    assert kv.run("types", "types") == {
        "default": text,
        "text": text,
        "json": value,
        "jsonOption": value,
        "arrayBuffer": [True, text],
        "stream": [True, text],
    }


def test_put_takes_text_buffers_views_and_streams(kv: Cases) -> None:
    data = [(i * 31 + 7) & 255 for i in range(256)]
    assert kv.run("putEveryKind", "kind-") == {
        "buffer": data,
        "view": data[10:20],
        "text": list("tëxt ☃".encode()),
        "stream": data,
    }


@pytest.mark.parametrize("type_", ["text", "json", "arrayBuffer", "stream"])
def test_a_key_that_is_not_there_is_null_in_every_type(kv: Cases, type_: str) -> None:
    assert kv.run("get", "nobody-put-this", type_) is None
    assert kv.run("getWithMetadata", "nobody-put-this", type_)["value"] is None


def test_get_of_what_is_no_json_throws(kv: Cases) -> None:
    kv.run("put", "broken-json", "{")
    with pytest.raises(CaseFailed, match="SyntaxError"):
        kv.run("get", "broken-json", "json")


def test_metadata_comes_back_with_the_value_and_in_the_list(kv: Cases) -> None:
    metadata = {"who": "Zoë", "n": [1, None]}
    kv.run("put", "meta:1", "v", {"metadata": metadata})
    found = kv.run("getWithMetadata", "meta:1")
    assert (found["value"], found["metadata"]) == ("v", metadata)
    assert kv.run("list", {"prefix": "meta:"})["keys"] == [{"name": "meta:1", "metadata": metadata}]
    kv.run("put", "meta:1", "w")
    assert kv.run("getWithMetadata", "meta:1")["metadata"] is None, "a put without metadata takes the old one away"


def test_a_bulk_get_gives_a_map_with_null_for_what_is_missing(kv: Cases) -> None:
    kv.run("put", "bulk:a", '{"n":1}', {"metadata": "m"})
    kv.run("put", "bulk:b", '{"n":2}')
    keys = ["bulk:b", "bulk:none", "bulk:a"]
    assert kv.run("bulk", keys) == {
        "isMap": True,
        "values": {"bulk:b": '{"n":2}', "bulk:none": None, "bulk:a": '{"n":1}'},
    }
    assert kv.run("bulk", keys, "json")["values"] == {"bulk:b": {"n": 2}, "bulk:none": None, "bulk:a": {"n": 1}}
    assert kv.run("bulkWithMetadata", keys)["bulk:a"] == {"value": '{"n":1}', "metadata": "m"}
    with pytest.raises(CaseFailed, match="maximum of 100 keys"):
        kv.run("bulk", [f"bulk:{i}" for i in range(101)])


def test_delete_removes_and_is_quiet_about_what_is_not_there(kv: Cases) -> None:
    kv.run("put", "gone", "v")
    kv.run("delete", "gone")
    assert kv.run("get", "gone") is None
    assert kv.run("delete", "gone") is None
    assert kv.run("list", {"prefix": "gone"})["keys"] == []


@pytest.mark.parametrize("key", ["a/b/c", "with space", "100%", "%2F", "q?x=1#y", "ключ-☃", "a+b&c=d", "..x", '"'])
def test_a_key_may_hold_any_character(kv: Cases, key: str) -> None:
    kv.run("put", key, f"value of {key}")
    assert kv.run("get", key) == f"value of {key}"
    assert kv.run("bulk", [key])["values"] == {key: f"value of {key}"}
    assert [found["name"] for found in kv.run("list", {"prefix": key})["keys"]] == [key]
    kv.run("delete", key)
    assert kv.run("get", key) is None


@pytest.mark.parametrize("size", [0, 65_535, 65_537, 3 * MIB, 25 * MIB])
def test_binary_values_survive_up_to_25_mib(kv: Cases, size: int) -> None:
    assert kv.run("large", f"large-{size}", size) == {"same": True, "size": size}
    kv.run("delete", f"large-{size}")


def test_lists_of_more_than_a_thousand_keys_are_complete_and_ordered(kv: Cases) -> None:
    count = 2_101
    kv.run("fill", "page:", 0, count)
    kv.run("put", "page", "no member of the prefix")
    names = [f"page:{i:05}" for i in range(count)]
    for limit, sizes in ((1000, [1000, 1000, 101]), (700, [700, 700, 700, 1]), (None, [1000, 1000, 101])):
        found = kv.run("pages", "page:", limit)
        assert found["sizes"] == sizes
        assert found["names"] == names
        assert found["metadata"] == sum(range(count))


def test_a_list_is_ordered_by_the_bytes_of_its_names(kv: Cases) -> None:
    names = ["o:", "o:10", "o:2", "o:A", "o:a", "o:é", "o:ﬀ", "o:😀"]
    for name in reversed(names):
        kv.run("put", name, "v")
    assert [key["name"] for key in kv.run("list", {"prefix": "o:"})["keys"]] == sorted(names, key=str.encode)


def test_a_prefix_holds_no_wildcards(kv: Cases) -> None:
    for name in ("w%:1", "wx:1", "w_:1"):
        kv.run("put", name, "v")
    assert [key["name"] for key in kv.run("list", {"prefix": "w%"})["keys"]] == ["w%:1"]
    assert [key["name"] for key in kv.run("list", {"prefix": "w_"})["keys"]] == ["w_:1"]


@pytest.mark.parametrize(
    ("key", "options", "text"),
    [
        ("", None, "Key name cannot be empty"),
        (".", None, '"." is not allowed as a key name'),
        ("..", None, '".." is not allowed as a key name'),
        ("k" * 513, None, "414 UTF-8 encoded length of 513 exceeds key length limit of 512"),
        ("é" * 257, None, "414 UTF-8 encoded length of 514 exceeds key length limit of 512"),
        ("limits", {"metadata": "m" * 1023}, "413 Metadata length of 1025 exceeds limit of 1024"),
        ("limits", {"expirationTtl": 59}, "400 Invalid expiration_ttl of 59. Expiration TTL must be at least 60"),
        ("limits", {"expirationTtl": 0}, "400 Invalid expiration_ttl of 0"),
        ("limits", {"expiration": 1}, "400 Invalid expiration of 1"),
    ],
)
def test_a_put_beyond_a_limit_throws_and_says_which(kv: Cases, key: str, options: object, text: str) -> None:
    with pytest.raises(CaseFailed) as failed:
        kv.run("put", key, "v", options)
    assert text in str(failed.value)


def test_keys_and_metadata_may_be_as_large_as_their_limits(kv: Cases) -> None:
    key, metadata = "k" * 512, "m" * 1022
    kv.run("put", key, "v", {"metadata": metadata})
    found = kv.run("getWithMetadata", key)
    assert (found["value"], found["metadata"]) == ("v", metadata)


def test_a_value_over_25_mib_is_refused_and_the_old_one_stays(kv: Cases) -> None:
    kv.run("put", "large-old", "old")
    with pytest.raises(CaseFailed, match="413 Value length of 26214401 exceeds limit of 26214400"):
        kv.run("large", "large-old", 25 * MIB + 1)
    assert kv.run("get", "large-old") == "old"


def test_a_list_gives_at_most_1000_keys_at_once(kv: Cases) -> None:
    with pytest.raises(CaseFailed, match="400 Invalid key_count_limit of 1001"):
        kv.run("list", {"limit": 1001})


def test_writes_of_one_key_at_once_leave_one_of_them_whole(kv: Cases) -> None:
    values = [str(i) * 200_000 for i in range(4)]
    writers = [threading.Thread(target=kv.run, args=("put", "race", value)) for value in values]
    for writer in writers:
        writer.start()
    for writer in writers:
        writer.join()
    assert kv.run("get", "race") in values


def test_functions_of_a_project_share_keys_and_other_projects_see_none(
    server: Server, root: httpx.Client, home: Project, kv: Cases
) -> None:
    kv.run("put", "shared", "of the first project")
    sibling = Cases(Kapso(home.client), CASES, name="Sibling")
    assert sibling.run("get", "shared") == "of the first project"
    with new_project(server, root) as stranger:
        other = Cases(Kapso(stranger.client), CASES)
        assert other.run("get", "shared") is None
        assert other.run("list")["keys"] == []
        other.run("put", "shared", "of the other project")
        other.run("delete", "unshared")
        assert other.run("get", "shared") == "of the other project"
    assert kv.run("get", "shared") == "of the first project", "deleting the other project leaves this one alone"


def test_keys_outlive_their_function_and_a_redeploy(home: Project) -> None:
    kapso = Kapso(home.client)
    first = Cases(kapso, CASES, name="Short-lived")
    first.run("put", "outlives", "v")
    assert kapso.deploy(first.function_id)["status"] == "deployed"
    assert first.run("get", "outlives") == "v"
    assert home.client.delete(f"/platform/v1/functions/{first.function_id}").status_code == 204
    assert Cases(kapso, CASES, name="Later").run("get", "outlives") == "v"
