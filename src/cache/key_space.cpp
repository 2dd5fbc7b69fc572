#include "cache/key_space.hpp"

#include <charconv>
#include <cstddef>

namespace soundhash::db {
namespace {

constexpr std::string_view plain =
    "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_.-";

/// Everything but letters, digits, "_", "." and "-" as %XX.
void append_escaped(std::string& out, std::string_view text) {
  constexpr std::string_view digits = "0123456789ABCDEF";
  for (const char c : text) {
    if (plain.find(c) != std::string_view::npos) {
      out += c;
    } else {
      const auto byte = static_cast<unsigned char>(c);
      out.append({'%', digits[byte >> 4U], digits[byte & 15U]});
    }
  }
}

void append_parameter(std::string& out, const params::view& value) {
  if (value.data == nullptr) {
    out += 'n';
    return;
  }
  out += value.binary ? 'b' : value.text ? 't' : 's';
  char length[24];
  out.append(length, std::to_chars(length, length + sizeof length, value.size).ptr);
  out += ':';
  out.append(value.data, value.size);
}

}  // namespace

std::string key_space::name_of(std::string_view system_identifier, std::string_view database,
                               std::string_view schema) {
  std::string name = "@";  // which no configured name has
  append_escaped(name, system_identifier);
  append_escaped(name += '/', database);
  append_escaped(name += '/', schema);
  return name;
}

key_space::key_space(std::string_view name)
    : prefix_{std::string{"soundhash:"}.append(name).append(":")} {}

std::string key_space::rows(const query& statement, const params& values) const {
  std::string key;
  key.reserve(prefix_.size() + statement.name().size() + 16 + 24 * values.size());
  key.append(prefix_).append("v:").append(statement.name()).append(":");
  for (std::size_t i = 0; i < values.size(); ++i) append_parameter(key, values[i]);
  return key;
}

std::string key_space::named(std::string_view key) const {
  return std::string{prefix_}.append("m:").append(key);
}

bool key_space::is_value(std::string_view key) const noexcept {
  if (!key.starts_with(prefix_)) return false;
  key.remove_prefix(prefix_.size());
  return key.starts_with("v:") || key.starts_with("m:");
}

std::string key_space::value_tag(std::string_view value_key) const {
  return std::string{prefix_}.append("t:=").append(value_key);
}

std::string key_space::values_like(std::string_view pattern) const {
  constexpr std::string_view special = "*?[]^-\\";
  std::string escaped;
  for (const char c : prefix_) {
    if (special.find(c) != std::string_view::npos) escaped += '\\';
    escaped += c;
  }
  return escaped.append("[vm]:").append(pattern);
}

}  // namespace soundhash::db
