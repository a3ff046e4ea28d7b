#include "userspace/ledger/sqlite.h"

#include <cerrno>

namespace tollgate::ledger {
namespace {

constexpr int kBusyTriesMax = 5000;  // a millisecond each

// SQLite's own waits grow to 100 ms a time: they would miss the moments between two commits of a
// busy ledger thread again and again, until the five seconds are over.
int wait_for_lock(void*, int tries) {
  if (tries >= kBusyTriesMax) return 0;
  ::sqlite3_sleep(1);
  return 1;
}

std::string path_of(sqlite3* db) {
  const char* path = db == nullptr ? nullptr : ::sqlite3_db_filename(db, "main");
  return path == nullptr ? "the ledger" : path;
}

std::string hint_for(int primary_code, int sys_errno, const std::string& path) {
  if (primary_code == SQLITE_FULL || sys_errno == ENOSPC || sys_errno == EDQUOT ||
      sys_errno == EFBIG) {
    return "free space on the file system that holds " + path + " (df -h), or raise its quota";
  }
  switch (primary_code) {
    case SQLITE_IOERR:
      return "check the disk that holds " + path + " (dmesg)";
    case SQLITE_CORRUPT:
    case SQLITE_NOTADB:
      return "stop the gateway, then restore " + path + " from a backup or move it aside";
    case SQLITE_CANTOPEN:
    case SQLITE_READONLY:
    case SQLITE_PERM:
    case SQLITE_AUTH:
      return "let the service's user read and write " + path + " and its folder (ls -la)";
    case SQLITE_BUSY:
    case SQLITE_LOCKED:
      return "another process holds " + path + ": see fuser -v, and end it";
    default:
      return {};
  }
}

}  // namespace

Error sqlite_error(sqlite3* db, std::string_view verb) {
  const int errno_now = errno;
  const int code = db == nullptr ? SQLITE_NOMEM : ::sqlite3_errcode(db);
  // SQLite does not keep the errno of a failed WAL write; step() cleared it before, so what is
  // there now is this call's.
  const bool is_io = (code & 0xff) == SQLITE_IOERR;
  const int kept_errno = db == nullptr ? ENOMEM : ::sqlite3_system_errno(db);
  const int sys_errno = is_io && errno_now != 0 ? errno_now : kept_errno;
  const std::string path = path_of(db);
  Error error{Fault::system, sys_errno, std::string(verb), hint_for(code & 0xff, sys_errno, path)};
  error.text += " " + path + ": ";
  error.text += db == nullptr ? ::sqlite3_errstr(code) : ::sqlite3_errmsg(db);
  if (is_io && sys_errno != 0) {
    error.text += std::string(" (") + std::strerror(sys_errno) + ")";
  }
  return error;
}

void Statement::bind(int parameter, int64_t value) {
  TG_ASSERT(::sqlite3_bind_int64(handle_.get(), parameter, value) == SQLITE_OK);
}

// A null pointer would bind NULL; an empty view may hold one.
void Statement::bind(int parameter, std::string_view text) {
  const char* bytes = text.data() == nullptr ? "" : text.data();
  TG_ASSERT(::sqlite3_bind_text64(handle_.get(), parameter, bytes, text.size(), SQLITE_STATIC,
                                  SQLITE_UTF8) == SQLITE_OK);
}

void Statement::bind(int parameter, std::span<const uint8_t> blob) {
  TG_ASSERT(::sqlite3_bind_blob64(handle_.get(), parameter, blob.data(), blob.size(),
                                  SQLITE_STATIC) == SQLITE_OK);
}

Result<bool> Statement::step() {
  errno = 0;
  const int code = ::sqlite3_step(handle_.get());
  if (code == SQLITE_ROW) return true;
  if (code == SQLITE_DONE) return false;
  return sqlite_error(::sqlite3_db_handle(handle_.get()), "use");
}

Status Statement::run() {
  for (;;) {
    auto row = step();
    if (row && *row) continue;
    // The error was read before the reset, which keeps the code but may change the text.
    reset();
    if (!row) return std::move(row).forward();
    return {};
  }
}

std::string_view Statement::text(int column) const {
  const auto* bytes = reinterpret_cast<const char*>(::sqlite3_column_text(handle_.get(), column));
  if (bytes == nullptr) return {};
  return {bytes, static_cast<size_t>(::sqlite3_column_bytes(handle_.get(), column))};
}

std::span<const uint8_t> Statement::blob(int column) const {
  const auto* bytes = static_cast<const uint8_t*>(::sqlite3_column_blob(handle_.get(), column));
  if (bytes == nullptr) return {};
  return {bytes, static_cast<size_t>(::sqlite3_column_bytes(handle_.get(), column))};
}

Result<Database> Database::open(const std::string& path, int flags) {
  sqlite3* raw = nullptr;
  const int code = ::sqlite3_open_v2(path.c_str(), &raw,
                                     flags | SQLITE_OPEN_NOMUTEX | SQLITE_OPEN_EXRESCODE, nullptr);
  Database db;
  db.handle_.reset(raw);  // also after a failure: the handle holds the reason
  if (code != SQLITE_OK) {
    Error error = sqlite_error(raw, "open");
    if (error.text.find(path) == error.text.npos) error.text += " [" + path + "]";
    return error;
  }
  ::sqlite3_busy_handler(raw, wait_for_lock, nullptr);
  return db;
}

Result<Statement> Database::prepare(std::string_view sql) {
  sqlite3_stmt* raw = nullptr;
  if (::sqlite3_prepare_v3(handle_.get(), sql.data(), static_cast<int>(sql.size()),
                           SQLITE_PREPARE_PERSISTENT, &raw, nullptr) != SQLITE_OK) {
    return sqlite_error(handle_.get(), "read");
  }
  Statement statement;
  statement.handle_.reset(raw);
  return statement;
}

Status Database::execute(const char* sql) {
  errno = 0;
  if (::sqlite3_exec(handle_.get(), sql, nullptr, nullptr, nullptr) != SQLITE_OK) {
    return sqlite_error(handle_.get(), "set up");
  }
  return {};
}

Result<int64_t> Database::integer(std::string_view sql) {
  auto statement = prepare(sql);
  if (!statement) return std::move(statement).forward();
  auto row = statement->step();
  if (!row) return std::move(row).forward();
  return *row ? statement->integer(0) : 0;
}

}  // namespace tollgate::ledger
