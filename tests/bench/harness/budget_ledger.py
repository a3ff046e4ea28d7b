"""A ledger with a past: settled requests written by SQL into a file that the daemon has made."""
import sqlite3
import time

SPAN_MS = 3_000_000  # all within the shortest of the bench's windows, which is an hour


def fill(path, users, model, count):
    now = int(time.time() * 1000)
    ledger = sqlite3.connect(path)
    # Columns that are not named here are zero or empty: what they are is the schema's matter.
    columns = [(name, kind) for _, name, kind, *_ in ledger.execute("PRAGMA table_info(usage)")]
    empty = {"INTEGER": 0, "TEXT": "", "BLOB": b""}

    def row(number):
        at = now - SPAN_MS + SPAN_MS * number // count
        known = {
            "request_id": at.to_bytes(8, "big") + number.to_bytes(8, "big"),
            "started_unix_ms": at, "settled_unix_ms": at, "settled_window_ms": at,
            "user_name": users[number % len(users)], "group_names": '["bench"]', "policy": "bench",
            "provider": "mock", "key_name": "main", "endpoint": "POST /v1/responses",
            "model_asked": model, "model_served": model, "tier": "default", "input_tokens": 1000,
            "output_tokens": 100, "cost_nano_usd": 1000, "price_version": "bench",
            "outcome": "completed", "http_status": 200, "bytes_up": 4096,
        }
        return [known.get(name, empty[kind]) for name, kind in columns]

    places = ", ".join("?" * len(columns))
    with ledger:
        ledger.executemany("INSERT INTO usage VALUES (%s)" % places, map(row, range(count)))
    ledger.close()
