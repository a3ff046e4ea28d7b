#!/usr/bin/python3
"""Writes Codex-like POST /v1/responses bodies of about 4 KB, 64 KB and 1 MB.

The key order is the one Codex sends (model, instructions, input, tools, ...,
stream near the end). All text is made up here, from a fixed seed. The last key,
metadata.mock, is filled in by the load generator and read by the mock. No hosted
tool is asked for: a policy may refuse those, and a refusal is not what is measured.
"""
import base64
import json
import os
import random
import sys

SEED = 42

WORDS = """
the function returns a buffer of bytes when parser reaches end token and caller must free memory
after use socket error handler retry timeout policy budget stream event usage model gateway
tunnel peer group identity test build compile link shared object kernel user space ring queue
submit complete poll accept connect
""".split()


def prose(r, n):
    out, size, line = [], 0, 0
    while size < n:
        w = r.choice(WORDS)
        line += 1
        sep = "\n" if line % 14 == 0 else " "
        out.append(w + sep)
        size += len(w) + 1
    return "".join(out)[:n]


def code(r, n):
    out, size, i = [], 0, 0
    while size < n:
        line = '%6d\t    if (%s->%s != nullptr && "%s\\n") { return %s(%d); }\n' % (
            i, r.choice(WORDS), r.choice(WORDS), r.choice(WORDS), r.choice(WORDS),
            r.randrange(9999))
        out.append(line)
        size += len(line)
        i += 1
    return "".join(out)[:n]


def function(r, name, n, properties):
    return {"type": "function", "name": name, "description": prose(r, n), "strict": False,
            "parameters": {"type": "object", "properties": {
                p: {"type": t, "description": prose(r, n // 4)} for p, t in properties},
                "required": [properties[0][0]], "additionalProperties": False}}


def tools(r, scale):
    made = [function(r, "exec_command", scale,
                     [("cmd", "string"), ("workdir", "string"), ("yield_time_ms", "number"),
                      ("max_output_tokens", "number"), ("justification", "string")]),
            function(r, "update_plan", scale // 2, [("explanation", "string"), ("plan", "array")])]
    if scale > 200:
        made += [function(r, "write_stdin", scale, [("session_id", "number"), ("chars", "string")]),
                 function(r, "view_image", scale // 2, [("path", "string")]),
                 {"type": "custom", "name": "apply_patch", "description": prose(r, scale),
                  "format": {"type": "grammar", "syntax": "lark", "definition": code(r, scale)}}]
    return made


def message(role, text):
    return {"type": "message", "role": role, "content": [{"type": "input_text", "text": text}]}


def tool_turn(r, i):
    """What one turn of an agent leaves in the input: thinking, a call, its output."""
    call_id = "call_%024x" % r.getrandbits(96)
    arguments = json.dumps({"cmd": "sed -n '%d,%dp' src/%s.cpp" % (i, i + 40, r.choice(WORDS)),
                            "workdir": "/src/project"})
    return [{"type": "reasoning",
             "summary": [{"type": "summary_text", "text": "**Thinking about it**"}],
             "content": None, "encrypted_content": base64.b64encode(r.randbytes(660)).decode()},
            {"type": "function_call", "name": "exec_command", "call_id": call_id,
             "arguments": arguments},
            {"type": "function_call_output", "call_id": call_id, "output": code(r, 1600)}]


def body(target, instructions, tool_scale, seed):
    r = random.Random(seed)
    environment = ("<environment_context>\n  <cwd>/src/project</cwd>\n  <shell>bash</shell>\n"
                   "</environment_context>")
    d = {"model": "gpt-5-codex", "instructions": prose(r, instructions),
         "input": [message("developer", prose(r, instructions // 4)), message("user", environment),
                   message("user", prose(r, 200))],
         "tools": tools(r, tool_scale), "tool_choice": "auto", "parallel_tool_calls": False,
         "reasoning": {"effort": "medium", "summary": "auto"}, "store": False, "stream": False,
         "include": ["reasoning.encrypted_content"],
         "prompt_cache_key": "0198f3c2-7c1e-7d52-9b7e-3f0f0c8b2a11",
         "text": {"verbosity": "medium"},
         "metadata": {"mock": "e=000020;d=00000000;s=000016;b=001;r=0001024;p=0000000;f=0"}}

    def size_of(value):
        return len(json.dumps(value, separators=(",", ":")))

    size, i = size_of(d), 0
    while target - size > 3400:  # a turn is somewhat smaller
        i += 1
        turn = tool_turn(r, i)
        d["input"] += turn
        size += size_of(turn) - 1  # two brackets less, one comma more
    room = target - size
    if room > 120:
        d["input"].append(message("user", "x" * (room - 90)))
    return json.dumps(d, separators=(",", ":"))


BODIES = (("4k", 4096, 1200, 120), ("64k", 65536, 18000, 1200), ("1m", 1048576, 18000, 1200))


def write_bodies(folder):
    os.makedirs(folder, exist_ok=True)
    for name, target, instructions, tool_scale in BODIES:
        text = body(target, instructions, tool_scale, SEED)
        assert text.index('"mock"') > len(text) - 1000  # the mock looks only at the end
        with open(os.path.join(folder, "body_%s.json" % name), "w") as f:
            f.write(text)


if __name__ == "__main__":
    write_bodies(sys.argv[1] if len(sys.argv) > 1 else ".")
