#include "cache/redis_call.hpp"

#include <charconv>

namespace soundhash::db::redis {
namespace {

void append_number(std::string& out, std::size_t number) {
  char digits[24];
  out.append(digits, std::to_chars(digits, digits + sizeof digits, number).ptr);
}

/// Reads "$3\r\n" at `from`, which is moved behind it.
std::size_t read_length(std::string_view body, std::size_t& from) {
  std::size_t length = 0;
  const auto [end, failure] =
      std::from_chars(body.data() + from + 1, body.data() + body.size(), length);
  from = static_cast<std::size_t>(end - body.data()) + 2;
  return length;
}

}  // namespace

command::command(std::initializer_list<std::string_view> arguments) {
  for (const auto argument : arguments) *this << argument;
}

command& command::operator<<(std::string_view argument) {
  body_ += '$';
  append_number(body_, argument.size());
  body_ += "\r\n";
  body_ += argument;
  body_ += "\r\n";
  ++count_;
  return *this;
}

command& command::operator<<(std::int64_t argument) {
  char digits[24];
  const auto end = std::to_chars(digits, digits + sizeof digits, argument).ptr;
  return *this << std::string_view{digits, static_cast<std::size_t>(end - digits)};
}

void command::append_to(std::string& out) const {
  out += '*';
  append_number(out, count_);
  out += "\r\n";
  out += body_;
}

std::vector<std::string> command::arguments() const {
  std::vector<std::string> found;
  for (std::size_t at = 0; at < body_.size();) {
    const auto length = read_length(body_, at);
    found.push_back(body_.substr(at, length));
    at += length + 2;
  }
  return found;
}

}  // namespace soundhash::db::redis
