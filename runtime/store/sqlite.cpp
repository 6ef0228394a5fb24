#include "runtime/store/sqlite.h"

#include <fmt/format.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <limits>

#include "base/error.h"
#include "base/files.h"

namespace r1 {
namespace {

// SQL of several lines says enough by its beginning.
std::string first_words(std::string_view sql) {
  constexpr size_t kLongest = 40;
  sql = sql.substr(sql.find_first_not_of(" \n") == sql.npos ? 0 : sql.find_first_not_of(" \n"));
  std::string words(sql.substr(0, std::min(sql.find_first_of("(\n;"), kLongest)));
  while (!words.empty() && words.back() == ' ') words.pop_back();
  return words;
}

[[noreturn]] void sqlite_failed(sqlite3* db, const char* doing) {
  const char* name = sqlite3_db_filename(db, "main");
  const int code = sqlite3_extended_errcode(db), system_error = sqlite3_system_errno(db);
  std::string what = fmt::format("run store: {} failed: {}", first_words(doing), sqlite3_errmsg(db)), hint;
  if ((code & 0xff) == SQLITE_BUSY) hint = "another process is writing to this run";
  if ((code & 0xff) == SQLITE_FULL) hint = no_space_hint(ENOSPC);
  if ((code & 0xff) == SQLITE_IOERR && system_error != 0) {
    what += fmt::format(" ({})", std::strerror(system_error));
    hint = no_space_hint(system_error);
  } else if (code == SQLITE_IOERR_WRITE || code == SQLITE_IOERR_FSYNC || code == SQLITE_IOERR_TRUNCATE ||
             code == SQLITE_IOERR_SHMSIZE) {
    hint = "the disk, or a limit on file sizes? free some space, then run the same command again";
  }
  throw failure(what, {name ? name : "", 0, 0}, hint);
}

}  // namespace

Statement::~Statement() {
  sqlite3_reset(statement_);
  sqlite3_clear_bindings(statement_);
}

Statement& Statement::bind(int64_t value) {
  if (sqlite3_bind_int64(statement_, ++bound_, value) != SQLITE_OK) sqlite_failed(db_, "bind");
  return *this;
}

Statement& Statement::bind(double value) {
  if (sqlite3_bind_double(statement_, ++bound_, value) != SQLITE_OK) sqlite_failed(db_, "bind");
  return *this;
}

Statement& Statement::bind_text(std::string_view value) {
  if (sqlite3_bind_text64(statement_, ++bound_, value.data() ? value.data() : "", value.size(), SQLITE_TRANSIENT,
                          SQLITE_UTF8) != SQLITE_OK)
    sqlite_failed(db_, "bind");
  return *this;
}

Statement& Statement::bind_blob(std::string_view value) {
  if (sqlite3_bind_blob64(statement_, ++bound_, value.data() ? value.data() : "", value.size(), SQLITE_STATIC) != SQLITE_OK)
    sqlite_failed(db_, "bind");
  return *this;
}

Statement& Statement::bind_null() {
  if (sqlite3_bind_null(statement_, ++bound_) != SQLITE_OK) sqlite_failed(db_, "bind");
  return *this;
}

bool Statement::step() {
  const int code = sqlite3_step(statement_);
  if (code == SQLITE_ROW) return true;
  if (code == SQLITE_DONE) return false;
  sqlite_failed(db_, sqlite3_sql(statement_));
}

void Statement::run() {
  while (step()) {
  }
}

int64_t Statement::integer(int column) const { return sqlite3_column_int64(statement_, column); }

// SQLite stores NaN as NULL.
double Statement::real(int column) const {
  return null(column) ? std::numeric_limits<double>::quiet_NaN() : sqlite3_column_double(statement_, column);
}

bool Statement::null(int column) const { return sqlite3_column_type(statement_, column) == SQLITE_NULL; }

std::string Statement::text(int column) const {
  const void* data = sqlite3_column_blob(statement_, column);
  const int bytes = sqlite3_column_bytes(statement_, column);
  return data == nullptr ? std::string() : std::string(static_cast<const char*>(data), static_cast<size_t>(bytes));
}

void check_database_path(const std::filesystem::path& file) {
  std::error_code unknown;  // whoever makes the directory says why
  const std::string whole = std::filesystem::weakly_canonical(std::filesystem::absolute(file, unknown), unknown).string();
  const size_t most = static_cast<size_t>(sqlite3_vfs_find(nullptr)->mxPathname) - std::strlen("-journal");
  if (whole.size() > most)
    throw bad_input(fmt::format("the whole path of the run store has {} bytes, SQLite takes {}", whole.size(), most),
                    {file.string()}, "a run directory in another place, or with a shorter name");
}

Database::Database(const std::filesystem::path& file, Mode mode) {
  // A reader opens read-write where it may: recovering the log of a killed writer needs to write the shared-memory index.
  int code = SQLITE_ERROR;
  if (mode == Mode::create) {
    code = sqlite3_open_v2(file.c_str(), &db_, SQLITE_OPEN_READWRITE | SQLITE_OPEN_CREATE | SQLITE_OPEN_NOMUTEX, nullptr);
  } else {
    for (const int flags : {SQLITE_OPEN_READWRITE, SQLITE_OPEN_READONLY}) {
      sqlite3_close(db_);
      code = sqlite3_open_v2(file.c_str(), &db_, flags | SQLITE_OPEN_NOMUTEX, nullptr);
      if (code == SQLITE_OK) break;
    }
  }
  if (code != SQLITE_OK) {
    const std::string why = db_ ? sqlite3_errmsg(db_) : "out of memory";
    sqlite3_close(db_);
    check_database_path(file);
    throw failure(fmt::format("cannot open the run store: {}", why), {file.string(), 0, 0});
  }
  sqlite3_busy_timeout(db_, 5000);
  if (mode == Mode::read_only) execute("PRAGMA query_only = ON");
}

Database::~Database() {
  for (auto& [sql, statement] : statements_) sqlite3_finalize(statement);
  sqlite3_close(db_);
}

void Database::execute(const char* sql) {
  if (sqlite3_exec(db_, sql, nullptr, nullptr, nullptr) != SQLITE_OK) sqlite_failed(db_, sql);
}

Statement Database::prepare(const char* sql) {
  auto found = statements_.find(std::string_view(sql));
  if (found == statements_.end()) {
    sqlite3_stmt* statement = nullptr;
    if (sqlite3_prepare_v3(db_, sql, -1, SQLITE_PREPARE_PERSISTENT, &statement, nullptr) != SQLITE_OK) sqlite_failed(db_, sql);
    found = statements_.emplace(sql, statement).first;
  }
  return Statement(db_, found->second);
}

int64_t Database::one_integer(const char* sql) {
  Statement s = prepare(sql);
  return s.step() ? s.integer(0) : 0;
}

int64_t Database::changes() const { return sqlite3_changes(db_); }
bool Database::in_transaction() const { return sqlite3_get_autocommit(db_) == 0; }

}  // namespace r1
