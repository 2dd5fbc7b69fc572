#include "migrate/migration_file.hpp"

#include <algorithm>
#include <charconv>
#include <map>
#include <utility>

#include <soundhash/db/core/error.hpp>

#include "migrate/sha256.hpp"

namespace soundhash::db::migrate {
namespace {

constexpr std::string_view digits = "0123456789";
constexpr std::string_view directive_mark = "-- soundhash:";

[[noreturn]] void fail(const std::string& where, std::string_view problem) {
  throw migration_error(errc::migration_failed, where + ": " + std::string{problem});
}

std::string_view take_line(std::string_view& text) {
  const auto end = text.find('\n');
  const auto line = text.substr(0, end);
  text.remove_prefix(end == std::string_view::npos ? text.size() : end + 1);
  return line;
}

std::vector<std::string_view> split_list(std::string_view list) {
  std::vector<std::string_view> items;
  while (true) {
    list.remove_prefix(std::min(list.find_first_not_of(" \t,"), list.size()));
    if (list.empty()) return items;
    const auto end = std::min(list.find_first_of(" \t,"), list.size());
    items.push_back(list.substr(0, end));
    list.remove_prefix(end);
  }
}

std::chrono::milliseconds duration_of(const std::string& where, std::string_view text) {
  const auto value = parse_duration(text);
  if (!value) {
    fail(where, "\"" + sanitize(text, 40) + "\" is no duration; write 200ms, 5s, 10min, 1h or 0");
  }
  return *value;
}

void apply_directive(migration_script& script, std::string_view directive,
                     const std::string& where) {
  const auto equals = directive.find('=');
  const auto key = directive.substr(0, equals);
  const bool has_value = equals != std::string_view::npos;
  if (has_value && key == "lock-timeout") {
    script.lock_timeout = duration_of(where, directive.substr(equals + 1));
  } else if (has_value && key == "statement-timeout") {
    script.statement_timeout = duration_of(where, directive.substr(equals + 1));
  } else if (directive == "no-transaction") {
    script.transactional = false;
  } else if (directive == "optional") {
    script.optional = true;
  } else if (directive == "loses-data") {
    script.loses_data = true;
  } else {
    fail(where, "unknown directive \"" + sanitize(directive, 40) +
                    "\"; there are no-transaction, optional, loses-data, lock-timeout=5s and "
                    "statement-timeout=0");
  }
}

void read_directives(migration_script& script) {
  std::string_view rest = script.text;
  for (std::size_t number = 1; !rest.empty(); ++number) {
    auto line = take_line(rest);
    if (line.find_first_not_of(" \t") != std::string_view::npos && !line.starts_with("--")) return;
    if (!line.starts_with(directive_mark)) continue;
    const auto where = script.file_name + ", line " + std::to_string(number);
    for (const auto directive : split_list(line.substr(directive_mark.size()))) {
      apply_directive(script, directive, where);
    }
  }
}

bool controls_transaction(const sql_statement& s) {
  for (const auto* word : {"BEGIN", "START", "COMMIT", "END", "ABORT"}) {
    if (s.has_words(0, {word})) return true;
  }
  return s.has_words(0, {"PREPARE", "TRANSACTION"}) ||
         (s.has_words(0, {"ROLLBACK"}) && !s.mentions("TO"));
}

bool drops_data(const sql_statement& s) {
  return s.has_words(0, {"DROP", "TABLE"}) || s.has_words(0, {"DROP", "SCHEMA"}) ||
         s.has_words(0, {"TRUNCATE"}) || s.mentions("DELETE") ||
         (s.has_words(0, {"ALTER", "TABLE"}) && s.mentions("DROP") && s.mentions("COLUMN"));
}

void check_statement(const migration_script& script, const sql_statement& s) {
  const auto where = script.file_name + ", line " + std::to_string(s.line);
  if (controls_transaction(s)) {
    fail(where,
         "the migrator begins and ends transactions; remove this statement, or give the file "
         "\"-- soundhash: no-transaction\"");
  }
  if (s.has_words(0, {"COPY"}) && s.mentions("STDIN")) {
    fail(where, "COPY FROM STDIN cannot run in a migration; use INSERT");
  }
}

void check_statements(migration_script& script) try {
  for (const auto& statement : script.statements()) {
    check_statement(script, statement);
    script.loses_data = script.loses_data || drops_data(statement);
  }
} catch (const migration_error& e) {
  const std::string_view message = e.what();
  if (message.starts_with(script.file_name)) throw;
  fail(script.file_name, message);
}

void add(std::map<std::int64_t, migration_file>& by_version, const migration_text& file) {
  const auto parsed = parse_file_name(file.file_name);
  if (!parsed) {
    fail(sanitize(file.file_name, 100),
         "a migration is named NNNN_name.up.sql or NNNN_name.down.sql, with at least four digits "
         "and a name of a-z, 0-9 and _");
  }
  auto& entry = by_version[parsed->version];
  if (!entry.name.empty() && entry.name != parsed->name) {
    fail(file.file_name, "version " + std::to_string(parsed->version) + " is also called \"" +
                             entry.name + "\"; give one of them another number");
  }
  entry.version = parsed->version;
  entry.name = parsed->name;
  if (parsed->is_up ? !entry.up.file_name.empty() : entry.down.has_value()) {
    fail(file.file_name, "version " + std::to_string(parsed->version) + " has this file twice");
  }
  auto script = parse_script(file.file_name, file.text);
  if (parsed->is_up) {
    entry.up = std::move(script);
  } else {
    entry.down = std::move(script);
  }
}

}  // namespace

std::optional<migration_file_name> parse_file_name(std::string_view file_name) {
  migration_file_name parsed;
  parsed.is_up = file_name.ends_with(".up.sql");
  if (!parsed.is_up && !file_name.ends_with(".down.sql")) return std::nullopt;
  file_name.remove_suffix(parsed.is_up ? 7 : 9);
  const auto separator = file_name.find_first_not_of(digits);
  if (separator == std::string_view::npos || separator < 4 || separator > 18 ||
      file_name[separator] != '_') {
    return std::nullopt;
  }
  std::from_chars(file_name.data(), file_name.data() + separator, parsed.version);
  parsed.name = file_name.substr(separator + 1);
  const bool plain =
      parsed.name.find_first_not_of("abcdefghijklmnopqrstuvwxyz0123456789_") == std::string::npos;
  if (parsed.version == 0 || parsed.name.empty() || !plain) return std::nullopt;
  return parsed;
}

std::string normalize_text(std::string_view text) {
  if (text.starts_with("\xEF\xBB\xBF")) text.remove_prefix(3);
  std::string plain;
  plain.reserve(text.size());
  for (std::size_t i = 0; i < text.size(); ++i) {
    if (text[i] != '\r') {
      plain.push_back(text[i]);
    } else if (i + 1 >= text.size() || text[i + 1] != '\n') {
      plain.push_back('\n');
    }
  }
  return plain;
}

std::optional<std::chrono::milliseconds> parse_duration(std::string_view text) {
  static const std::map<std::string_view, std::int64_t> units = {
      {"ms", 1}, {"s", 1'000}, {"min", 60'000}, {"h", 3'600'000}};
  constexpr std::int64_t limit = std::int64_t{24} * 24 * 3'600'000;
  std::int64_t number = 0;
  const auto [end, problem] = std::from_chars(text.data(), text.data() + text.size(), number);
  const auto unit = text.substr(static_cast<std::size_t>(end - text.data()));
  if (problem != std::errc{} || number < 0) return std::nullopt;
  if (number == 0 && unit.empty()) return std::chrono::milliseconds{0};
  const auto factor = units.find(unit);
  if (factor == units.end() || number > limit / factor->second) return std::nullopt;
  return std::chrono::milliseconds{number * factor->second};
}

migration_script parse_script(std::string file_name, std::string_view text) {
  migration_script script;
  script.file_name = std::move(file_name);
  script.text = normalize_text(text);
  script.checksum = sha256_hex(script.text);
  if (script.text.find('\0') != std::string::npos) fail(script.file_name, "has a NUL byte");
  read_directives(script);
  check_statements(script);
  return script;
}

std::vector<migration_file> parse_files(const migration_source& source) {
  std::map<std::int64_t, migration_file> by_version;
  for (const auto& file : source.files) add(by_version, file);
  std::vector<migration_file> files;
  for (auto& [version, file] : by_version) {
    if (file.up.file_name.empty()) fail(file.down->file_name, "there is no up file to it");
    files.push_back(std::move(file));
  }
  return files;
}

}  // namespace soundhash::db::migrate
