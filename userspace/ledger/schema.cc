#include "userspace/ledger/schema.h"

#include <fcntl.h>
#include <sys/stat.h>

#include <cerrno>
#include <filesystem>
#include <iterator>

#include "userspace/base/fd.h"
#include "userspace/ledger/store.h"

namespace tollgate::ledger {
namespace {

// WITHOUT ROWID: the request id, which begins with the time, is the order on disk, so an insert
// touches two right edges (table and time index) instead of three. STRICT: money stays an integer.
constexpr const char* kVersion1 = R"sql(
  CREATE TABLE usage (
    request_id BLOB PRIMARY KEY CHECK (length(request_id) = 16),
    started_unix_ms INTEGER NOT NULL,
    first_byte_ms INTEGER NOT NULL,
    duration_ms INTEGER NOT NULL,
    peer_id INTEGER NOT NULL,
    peer_address TEXT NOT NULL,
    user_name TEXT NOT NULL,
    group_names TEXT NOT NULL,
    policy TEXT NOT NULL,
    provider TEXT NOT NULL,
    key_name TEXT NOT NULL,
    endpoint TEXT NOT NULL,
    model_asked TEXT NOT NULL,
    model_served TEXT NOT NULL,
    model_reported TEXT NOT NULL,
    tier TEXT NOT NULL,
    input_tokens INTEGER NOT NULL,
    cached_tokens INTEGER NOT NULL,
    cache_write_tokens INTEGER NOT NULL,
    output_tokens INTEGER NOT NULL,
    reasoning_tokens INTEGER NOT NULL,
    cost_nano_usd INTEGER NOT NULL,
    price_version TEXT NOT NULL,
    outcome TEXT NOT NULL,
    refusal_code TEXT NOT NULL,
    http_status INTEGER NOT NULL,
    estimated INTEGER NOT NULL,
    events INTEGER NOT NULL,
    bytes_up INTEGER NOT NULL,
    bytes_down INTEGER NOT NULL,
    response_id TEXT NOT NULL,
    session_id TEXT NOT NULL,
    thread_id TEXT NOT NULL,
    subagent TEXT NOT NULL,
    flow_id INTEGER NOT NULL
  ) STRICT, WITHOUT ROWID;
  CREATE INDEX usage_by_time ON usage (started_unix_ms);
)sql";

// Old rows ran before windows had a clock of their own: theirs is the wall clock. usage_ahead is
// empty unless the wall clock was set back by days, and costs an insert nothing but the comparison;
// it holds the rows that a search by time with two days of slack would miss.
constexpr const char* kVersion2 = R"sql(
  ALTER TABLE usage ADD COLUMN hold_input_tokens INTEGER NOT NULL DEFAULT 0;
  ALTER TABLE usage ADD COLUMN hold_output_tokens INTEGER NOT NULL DEFAULT 0;
  ALTER TABLE usage ADD COLUMN hold_cost_nano_usd INTEGER NOT NULL DEFAULT 0;
  ALTER TABLE usage ADD COLUMN tool_calls INTEGER NOT NULL DEFAULT 0;
  ALTER TABLE usage ADD COLUMN settled_unix_ms INTEGER NOT NULL DEFAULT 0;
  ALTER TABLE usage ADD COLUMN settled_window_ms INTEGER NOT NULL DEFAULT 0;
  UPDATE usage SET settled_unix_ms = started_unix_ms + duration_ms,
                   settled_window_ms = started_unix_ms + duration_ms;
  CREATE INDEX usage_ahead ON usage (settled_window_ms)
    WHERE settled_window_ms > started_unix_ms + 172800000;
  CREATE TABLE holds (
    request_id BLOB PRIMARY KEY CHECK (length(request_id) = 16),
    record BLOB NOT NULL
  ) STRICT, WITHOUT ROWID;
  CREATE TABLE adjustment (
    id INTEGER PRIMARY KEY,
    kind TEXT NOT NULL,
    scope TEXT NOT NULL,
    subject TEXT NOT NULL,
    unit TEXT NOT NULL,
    amount INTEGER NOT NULL,
    made_unix_ms INTEGER NOT NULL,
    made_window_ms INTEGER NOT NULL,
    expires_window_ms INTEGER NOT NULL,
    uid INTEGER NOT NULL,
    reason TEXT NOT NULL
  ) STRICT;
  CREATE TABLE clock (
    boot_id TEXT PRIMARY KEY,
    boottime_ms INTEGER NOT NULL,
    window_ms INTEGER NOT NULL
  ) STRICT, WITHOUT ROWID;
)sql";

constexpr const char* kRevocations = R"sql(
  CREATE TABLE revocation (
    scope TEXT NOT NULL,
    subject TEXT NOT NULL,
    made_unix_ms INTEGER NOT NULL,
    uid INTEGER NOT NULL,
    reason TEXT NOT NULL,
    PRIMARY KEY (scope, subject)
  ) STRICT, WITHOUT ROWID;
)sql";

// What the detector of lost metering compares with the kernel's count of each connection.
constexpr const char* kTraffic = R"sql(
  ALTER TABLE usage ADD COLUMN upstream_flow_id INTEGER NOT NULL DEFAULT 0;
  ALTER TABLE usage ADD COLUMN upstream_bytes_up INTEGER NOT NULL DEFAULT 0;
  ALTER TABLE usage ADD COLUMN upstream_bytes_down INTEGER NOT NULL DEFAULT 0;
)sql";

// Each takes a file from the version before to its own, so that a new file and an upgraded one are
// the same. A step never changes once it was released.
struct Step {
  int64_t version;
  const char* sql;
};
constexpr Step kSteps[] = {{1, kVersion1}, {2, kVersion2}, {3, kRevocations}, {3, kTraffic}};
static_assert(std::end(kSteps)[-1].version == kSchemaVersion);

// FULL syncs the WAL at every commit. The checkpoint is rarer than SQLite's default of 1,000 pages:
// the same right-edge pages are rewritten by every commit and copied home only once.
constexpr const char* kSettings =
    "PRAGMA synchronous = FULL;"
    "PRAGMA wal_autocheckpoint = 2000;"
    "PRAGMA journal_size_limit = 67108864;"
    "PRAGMA foreign_keys = OFF;";

Status sync_folder(const std::string& folder) {
  const UniqueFd fd(::open(folder.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC));
  if (!fd || ::fsync(fd.get()) != 0) return system_error(errno, "sync folder " + folder);
  return {};
}

Status make_folder(const std::string& folder) {
  if (::mkdir(folder.c_str(), 0750) != 0) {
    if (errno == EEXIST) return {};  // if it is no folder, opening the file says so
    Error error = system_error(errno, "create folder " + folder);
    error.hint = "create its parent, or set the state folder to one the service's user may write";
    return error;
  }
  // "state/" has the parent "state" for std::filesystem, hence the trailing slash goes first.
  std::string name = folder;
  while (name.size() > 1 && name.back() == '/')
    name.pop_back();
  const std::string parent = std::filesystem::path(name).parent_path().string();
  return sync_folder(parent.empty() ? "." : parent);
}

// SQLite would make the file readable for all; its WAL takes the same mode as the file.
Status make_file(const std::string& folder, const std::string& path) {
  const UniqueFd fd(::open(path.c_str(), O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC, 0640));
  if (!fd) {
    if (errno == EEXIST) return {};
    Error error = system_error(errno, "create " + path);
    error.hint = "let the service's user write " + folder;
    return error;
  }
  if (::fsync(fd.get()) != 0) return system_error(errno, "sync " + path);
  return sync_folder(folder);
}

Error refuse_newer(const std::string& path, int64_t version) {
  return Error{
      Fault::config, 0,
      "open " + path + ": schema version " + std::to_string(version) + ", this one reads " +
          std::to_string(kSchemaVersion),
      "a newer tollgate wrote it: install that version again, or use another state folder"};
}

Status bring_up(Database& db, const std::string& path, int64_t version) {
  auto objects = db.integer("SELECT count(*) FROM sqlite_schema");
  if (!objects) return std::move(objects).forward();
  if (version == 0 && *objects != 0) {
    return Error{Fault::config, 0, "open " + path + ": a database, but not a ledger",
                 "move it aside, or use another state folder"};
  }
  std::string sql = "BEGIN IMMEDIATE;";
  for (const Step& step : kSteps) {
    if (step.version > version) sql += step.sql;
  }
  sql += "PRAGMA user_version = " + std::to_string(kSchemaVersion) + "; COMMIT;";
  return db.execute(sql.c_str());
}

// READWRITE, for readers too: they take part in the WAL's shared memory.
Result<Database> open_existing(const std::string& folder) {
  const std::string path = ledger_path(folder);
  auto db = Database::open(path, SQLITE_OPEN_READWRITE);
  if (!db) return db;
  auto version = db->integer("PRAGMA user_version");
  if (!version) return std::move(version).forward();
  if (*version > kSchemaVersion || *version < 0) return refuse_newer(path, *version);
  if (*version == 0) {
    return Error{Fault::config, 0, "open " + path + ": no ledger in it yet",
                 "start the gateway once: it creates the ledger"};
  }
  if (*version < kSchemaVersion) {
    return Error{Fault::config, 0,
                 "open " + path + ": schema version " + std::to_string(*version) +
                     ", this one reads " + std::to_string(kSchemaVersion),
                 "start the gateway of this version once: it brings the ledger up to date"};
  }
  return db;
}

}  // namespace

int64_t ledger_version() {
  return kSchemaVersion;
}

std::string ledger_path(const std::string& folder) {
  return folder + "/ledger.sqlite";
}

Result<Database> open_for_writing(const std::string& folder) {
  const std::string path = ledger_path(folder);
  if (auto made = make_folder(folder); !made) return std::move(made).forward();
  if (auto made = make_file(folder, path); !made) return std::move(made).forward();
  auto db = Database::open(path, SQLITE_OPEN_READWRITE);
  if (!db) return db;
  // The version comes before any write: a newer ledger is left exactly as it is.
  auto version = db->integer("PRAGMA user_version");
  if (!version) return std::move(version).forward();
  if (*version > kSchemaVersion || *version < 0) return refuse_newer(path, *version);
  auto mode = db->prepare("PRAGMA journal_mode = WAL");
  if (!mode) return std::move(mode).forward();
  auto row = mode->step();
  if (!row) return std::move(row).forward();
  if (mode->text(0) != "wal") {
    return Error{Fault::system, 0, "open " + path + ": its file system cannot hold a WAL",
                 "use a local file system for the state folder, not a network mount"};
  }
  mode->reset();
  if (auto set = db->execute(kSettings); !set) return std::move(set).forward();
  if (*version < kSchemaVersion) {
    if (auto done = bring_up(*db, path, *version); !done) return std::move(done).forward();
  }
  return db;
}

Result<Database> open_beside_writer(const std::string& folder) {
  auto db = open_existing(folder);
  if (!db) return db;
  if (auto set = db->execute(kSettings); !set) return std::move(set).forward();
  return db;
}

Result<Database> open_for_reading(const std::string& folder) {
  auto db = open_existing(folder);
  if (!db) return db;
  // SQLite falls back to reading alone when the file's mode demands it; this keeps us from writing
  // rows either way.
  if (auto set = db->execute("PRAGMA query_only = ON"); !set) return std::move(set).forward();
  return db;
}

}  // namespace tollgate::ledger
