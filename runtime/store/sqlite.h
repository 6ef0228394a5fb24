// A thin layer over SQLite: a connection with a cache of prepared statements, and typed binds and columns.
// Not a query builder; not thread-safe: one connection belongs to one thread at a time (RunStore's mutex).
#pragma once

#include <sqlite3.h>

#include <cstdint>
#include <filesystem>
#include <map>
#include <memory>
#include <string>
#include <string_view>

namespace r1 {

// A prepared statement being run: bind in order, then step. Resets itself when it goes out of scope.
// Errors throw r1::Error (failure) with SQLite's text and the file.
class Statement {
 public:
  Statement(sqlite3* db, sqlite3_stmt* statement) : db_(db), statement_(statement) {}
  ~Statement();
  Statement(const Statement&) = delete;
  Statement& operator=(const Statement&) = delete;

  Statement& bind(int64_t value);
  Statement& bind(double value);
  Statement& bind_text(std::string_view value);
  Statement& bind_blob(std::string_view value);  // not copied: must live until the statement is done
  Statement& bind_null();

  bool step();  // true: a row is there
  void run();   // steps to the end, ignoring rows

  int64_t integer(int column) const;
  double real(int column) const;
  std::string text(int column) const;  // text or blob; "" for NULL
  bool null(int column) const;

 private:
  sqlite3* db_;
  sqlite3_stmt* statement_;
  int bound_ = 0;
};

// Throws bad_input where the whole path of `file` is longer than SQLite takes.
void check_database_path(const std::filesystem::path& file);

class Database {
 public:
  enum class Mode { create, read_only };
  // Throws failure when SQLite refuses to open.
  Database(const std::filesystem::path& file, Mode mode);
  ~Database();
  Database(const Database&) = delete;
  Database& operator=(const Database&) = delete;

  void execute(const char* sql);         // one or more statements without parameters
  Statement prepare(const char* sql);    // cached by the pointer's text
  int64_t one_integer(const char* sql);  // first column of the first row
  int64_t changes() const;               // rows changed by the last statement
  bool in_transaction() const;

 private:
  sqlite3* db_ = nullptr;
  std::map<std::string, sqlite3_stmt*, std::less<>> statements_;
};

}  // namespace r1
