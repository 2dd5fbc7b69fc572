#include "core/dotenv.hpp"

#include <algorithm>
#include <cerrno>
#include <system_error>

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <soundhash/db/core/error.hpp>

namespace soundhash::db {
namespace {

constexpr std::string_view byte_order_mark = "\xEF\xBB\xBF";
constexpr std::string_view line_ends = "\r\n";
constexpr std::string_view blanks = " \t\v\f";
constexpr std::string_view whitespace = " \t\v\f\r\n";

constexpr bool is_one_of(char c, std::string_view set) noexcept {
  return set.find(c) != std::string_view::npos;
}

/// "\r\n", "\n" and "\r" each end one line.
std::size_t line_of(std::string_view text, std::size_t position) {
  std::size_t line = 1;
  for (std::size_t i = 0; i < position; ++i) {
    const bool first_half = text[i] == '\r' && i + 1 < text.size() && text[i + 1] == '\n';
    if (is_one_of(text[i], line_ends) && !first_half) ++line;
  }
  return line;
}

/// The character that a backslash and `letter` stand for; '\0' when they stand for themselves.
constexpr char unescaped(char letter, char quote) noexcept {
  constexpr std::string_view letters = "\\'\"abfnrtv";
  constexpr std::string_view meanings = "\\'\"\a\b\f\n\r\t\v";
  const auto usable = quote == '"' ? letters : letters.substr(0, 2);
  const auto index = usable.find(letter);
  return index == std::string_view::npos ? '\0' : meanings[index];
}

std::string without_escapes(std::string_view body, char quote) {
  std::string out;
  out.reserve(body.size());
  for (std::size_t i = 0; i < body.size(); ++i) {
    const bool pair = body[i] == '\\' && i + 1 < body.size();
    const char meaning = pair ? unescaped(body[i + 1], quote) : '\0';
    out.push_back(meaning != '\0' ? meaning : body[i]);
    if (meaning != '\0') ++i;
  }
  return out;
}

std::string_view without_trailing(std::string_view text, std::string_view set) {
  const auto last = text.find_last_not_of(set);
  return text.substr(0, last == std::string_view::npos ? 0 : last + 1);
}

/// Cuts an inline comment: a '#' after a blank. `after_blank`: one stood before the text.
std::string_view without_comment(std::string_view text, bool after_blank) {
  for (std::size_t i = 0; i < text.size(); ++i) {
    const bool starts = i == 0 ? after_blank : is_one_of(text[i - 1], blanks);
    if (text[i] == '#' && starts) return without_trailing(text.substr(0, i), blanks);
  }
  return without_trailing(text, blanks);
}

/// Walks over the text, one binding after the other.
class reader {
 public:
  reader(std::string_view text, std::string_view file) : text_{text}, file_{file} {
    if (text_.substr(0, byte_order_mark.size()) == byte_order_mark) at_ = byte_order_mark.size();
  }

  std::map<std::string, std::string> bindings() {
    refuse_nul();
    for (skip(whitespace); at_ < text_.size(); skip(whitespace)) binding();
    return std::move(bindings_);
  }

 private:
  void refuse_nul() const {
    const auto nul = text_.find('\0');
    if (nul != std::string_view::npos) refuse(nul, "holds a NUL byte", "text in UTF-8");
  }

  void binding() {
    start_ = at_;
    if (peek() == '#') return rest_of_line();
    skip_export();
    const auto name = key();
    skip(blanks);
    if (peek() == '=') {
      ++at_;
      bindings_.insert_or_assign(std::string{name}, value());
    } else {
      bindings_.erase(std::string{name});
    }
    end_of_line();
  }

  void skip_export() {
    constexpr std::string_view keyword = "export";
    const auto after = at_ + keyword.size();
    const bool follows = text_.substr(at_, keyword.size()) == keyword && after < text_.size() &&
                         is_one_of(text_[after], blanks);
    if (!follows) return;
    at_ = after;
    skip(blanks);
  }

  std::string_view key() {
    const bool quoted = peek() == '\'';
    if (quoted) ++at_;
    const auto end = text_.find_first_of(quoted ? "'\r\n" : "=# \t\v\f\r\n", at_);
    const auto name = take_until(end);
    if (name.empty() || (quoted && peek() != '\'')) refuse_line("has no name");
    if (quoted) ++at_;
    return name;
  }

  std::string value() {
    const auto before = at_;
    skip(blanks);
    if (peek() == '\'' || peek() == '"') return quoted_value();
    const auto raw = take_until(text_.find_first_of(line_ends, at_));
    const bool after_blank = at_ - raw.size() > before;
    return std::string{without_comment(raw, after_blank)};
  }

  std::string quoted_value() {
    const char quote = text_[at_++];
    const auto end = closing_quote(quote);
    if (end == std::string_view::npos) refuse_line("has a quote that is never closed");
    auto out = without_escapes(take_until(end), quote);
    ++at_;
    return out;
  }

  /// As python-dotenv: the first quote without a backslash before it; if there is none, the last
  /// one with a backslash.
  [[nodiscard]] std::size_t closing_quote(char quote) const {
    auto last = std::string_view::npos;
    for (auto i = text_.find(quote, at_); i != std::string_view::npos;
         i = text_.find(quote, i + 1)) {
      last = i;
      if (i == at_ || text_[i - 1] != '\\') break;
    }
    return last;
  }

  void end_of_line() {
    skip(blanks);
    if (peek() == '#') return rest_of_line();
    if (at_ < text_.size() && !is_one_of(text_[at_], line_ends)) {
      refuse_line("has text after its value or name");
    }
  }

  void rest_of_line() { take_until(text_.find_first_of(line_ends, at_)); }

  std::string_view take_until(std::size_t end) {
    const auto taken = text_.substr(at_, std::min(end, text_.size()) - at_);
    at_ += taken.size();
    return taken;
  }

  void skip(std::string_view set) {
    at_ = std::min(text_.find_first_not_of(set, at_), text_.size());
  }

  [[nodiscard]] char peek() const noexcept { return at_ < text_.size() ? text_[at_] : '\0'; }

  [[noreturn]] void refuse_line(std::string_view problem) const {
    refuse(start_, problem, "NAME=value, NAME='value' or NAME=\"value\", then # comment");
  }

  [[noreturn]] void refuse(std::size_t position, std::string_view problem,
                           std::string_view accepted) const {
    const auto line = std::to_string(line_of(text_, position));
    throw config_error{sanitize(file_) + ":" + line, problem, accepted};
  }

  std::string_view text_;
  std::string_view file_;
  std::size_t at_ = 0;
  std::size_t start_ = 0;
  std::map<std::string, std::string> bindings_;
};

/// An open file, closed at the end of the scope.
class descriptor {
 public:
  // Non-blocking, since opening a FIFO would otherwise wait for a writer.
  explicit descriptor(const std::filesystem::path& path)
      : number_{::open(path.c_str(), O_RDONLY | O_CLOEXEC | O_NONBLOCK)} {}
  ~descriptor() {
    if (is_open()) ::close(number_);
  }
  descriptor(const descriptor&) = delete;
  descriptor& operator=(const descriptor&) = delete;

  [[nodiscard]] bool is_open() const noexcept { return number_ >= 0; }
  [[nodiscard]] int number() const noexcept { return number_; }

 private:
  int number_;
};

[[noreturn]] void refuse_file(const std::filesystem::path& path, std::string_view problem) {
  throw config_error{sanitize(path.string()), problem, "a readable regular file of at most 1 MiB"};
}

[[noreturn]] void refuse_unreadable(const std::filesystem::path& path, int cause) {
  refuse_file(path, "cannot be read: " + std::generic_category().message(cause));
}

/// The whole file, or one byte more than the limit of a larger one.
std::string content(const descriptor& file, const std::filesystem::path& path) {
  std::string text(dotenv_size_limit + 1, '\0');
  std::size_t size = 0;
  while (size < text.size()) {
    const auto got = ::read(file.number(), text.data() + size, text.size() - size);
    if (got == 0) break;
    if (got < 0 && errno != EINTR) refuse_unreadable(path, errno);
    if (got > 0) size += static_cast<std::size_t>(got);
  }
  text.resize(size);
  return text;
}

}  // namespace

std::map<std::string, std::string> parse_dotenv(std::string_view text, std::string_view file) {
  return reader{text, file}.bindings();
}

std::optional<dotenv_file> read_dotenv(const std::filesystem::path& path) {
  const descriptor file{path};
  if (!file.is_open() && errno == ENOENT) return std::nullopt;
  struct stat status {};
  if (!file.is_open() || ::fstat(file.number(), &status) != 0) refuse_unreadable(path, errno);
  if (!S_ISREG(status.st_mode)) refuse_file(path, "is not a regular file");
  const auto text = content(file, path);
  if (text.size() > dotenv_size_limit) refuse_file(path, "is larger than 1 MiB");
  return dotenv_file{.variables = parse_dotenv(text, path.string()),
                     .readable_by_others = (status.st_mode & (S_IRGRP | S_IROTH)) != 0};
}

}  // namespace soundhash::db
