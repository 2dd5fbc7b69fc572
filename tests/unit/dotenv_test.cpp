#include "core/dotenv.hpp"

#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <string>

#include <gtest/gtest.h>
#include <sys/stat.h>
#include <unistd.h>

#include <soundhash/db/core/error.hpp>

namespace soundhash::db {
namespace {

using namespace std::string_literals;
using variables = std::map<std::string, std::string>;

/// The message of the config_error that parsing throws; "" when it throws none.
std::string refusal(std::string_view text) {
  try {
    static_cast<void>(parse_dotenv(text, "some.env"));
  } catch (const config_error& failure) {
    return failure.what();
  }
  return {};
}

struct accepted_case {
  std::string text;
  variables expected;
};

// What python-dotenv gives without interpolation; `A=  # comment` as its later versions read it.
const accepted_case accepted_cases[] = {
    {"", {}},
    {"\n\r\n \t\n", {}},
    {"A=1", {{"A", "1"}}},
    {"A=1\n", {{"A", "1"}}},
    {"A=1\r\nB=2\r\n", {{"A", "1"}, {"B", "2"}}},
    {"A=1\rB=2", {{"A", "1"}, {"B", "2"}}},
    {"\xEF\xBB\xBF"
     "A=1",
     {{"A", "1"}}},
    {"  A = 1  ", {{"A", "1"}}},
    {"export A=1", {{"A", "1"}}},
    {"export \t A=1", {{"A", "1"}}},
    {"export=1", {{"export", "1"}}},
    {"exported=1", {{"exported", "1"}}},
    {"'A'=1", {{"A", "1"}}},
    {"# A=1\nB=2 # C=3", {{"B", "2"}}},
    {"A=1#2", {{"A", "1#2"}}},
    {"A=1 #2", {{"A", "1"}}},
    {"A=1\t# 2", {{"A", "1"}}},
    {"A=#1", {{"A", "#1"}}},
    {"A=     # nothing but a comment", {{"A", ""}}},
    {"A=\nB=", {{"A", ""}, {"B", ""}}},
    {"A=1\nA=2", {{"A", "2"}}},
    {"A=1\nA", {}},
    {"A\nB=1", {{"B", "1"}}},
    {"A=a b  c", {{"A", "a b  c"}}},
    {"A=a=b", {{"A", "a=b"}}},
    {"A=a'b\"c", {{"A", "a'b\"c"}}},
    {"A=a\\nb", {{"A", "a\\nb"}}},
    {"A=${B}-$C", {{"A", "${B}-$C"}}},
    {"A='${B}'", {{"A", "${B}"}}},
    {"A='a # b'", {{"A", "a # b"}}},
    {"A=\"a # b\" # c", {{"A", "a # b"}}},
    {"A='a'#b", {{"A", "a"}}},
    {"A=' a '", {{"A", " a "}}},
    {"A=''\nB=\"\"", {{"A", ""}, {"B", ""}}},
    {R"(A='a\'b\\c\nd\"e')", {{"A", R"(a'b\c\nd\"e)"}}},
    {R"(A="a\"b\\c\'d\ne\tf\rg\ah\bi\fj\vk\xl")", {{"A", "a\"b\\c'd\ne\tf\rg\ah\bi\fj\vk\\xl"}}},
    {"A='one\ntwo'\nB=3", {{"A", "one\ntwo"}, {"B", "3"}}},
    {R"(A='a\')", {{"A", "a\\"}}},
    {R"(A="a\\")", {{"A", "a\\"}}},
    {"ключ=значение", {{"ключ", "значение"}}},
};

TEST(dotenv, reads_the_dialect_of_python_dotenv) {
  for (const auto& each : accepted_cases) {
    EXPECT_EQ(refusal(each.text), "") << each.text;
    EXPECT_EQ(parse_dotenv(each.text, "some.env"), each.expected) << each.text;
  }
}

struct refused_case {
  std::string text;
  std::string message_start;
};

const refused_case refused_cases[] = {
    {"A='canary", "some.env:1: has a quote that is never closed"},
    {"A=1\nB=\"canary\nC=2\n", "some.env:2: has a quote that is never closed"},
    {"A='x' canary", "some.env:1: has text after its value or name"},
    {"A='x'canary'", "some.env:1: has text after its value or name"},
    {"\n\r\n# c\rcanary value", "some.env:4: has text after its value or name"},
    {"=canary", "some.env:1: has no name"},
    {"''=canary", "some.env:1: has no name"},
    {"'canary=1\n'=2", "some.env:1: has no name"},
    {"export =canary", "some.env:1: has no name"},
    {"export ", "some.env:1: has no name"},
    {"A=1\nB=canary\0x"s, "some.env:2: holds a NUL byte"},
    {"\0"s, "some.env:1: holds a NUL byte"},
    {"A\0=\0"
     "1\0"s,
     "some.env:1: holds a NUL byte"},
};

TEST(dotenv, refuses_naming_file_and_line_but_no_text) {
  for (const auto& each : refused_cases) {
    const auto message = refusal(each.text);
    EXPECT_EQ(message.substr(0, each.message_start.size()), each.message_start) << each.text;
    EXPECT_EQ(message.find("canary"), std::string::npos) << message;
  }
}

TEST(dotenv, names_file_and_line_as_the_variable) {
  try {
    static_cast<void>(parse_dotenv("\nA='", "a\nb"));
    FAIL() << "no config_error";
  } catch (const config_error& failure) {
    EXPECT_EQ(failure.variable(), "a\\x0ab:2");
  }
}

TEST(dotenv, reads_a_line_as_long_as_the_file_may_be) {
  const std::string longest(dotenv_size_limit - 2, '#');
  EXPECT_EQ(parse_dotenv("A=" + longest, "").at("A"), longest);
  const std::string quotes(dotenv_size_limit, '\'');
  EXPECT_NE(refusal("A='" + quotes), "");
}

class dotenv_path : public testing::Test {
 protected:
  dotenv_path() {
    auto pattern = (std::filesystem::temp_directory_path() / "dotenv_test.XXXXXX").string();
    if (::mkdtemp(pattern.data()) == nullptr) throw std::runtime_error{"mkdtemp"};
    folder_ = pattern;
  }
  ~dotenv_path() override { std::filesystem::remove_all(folder_); }

  std::filesystem::path write(const std::string& text) const {
    std::ofstream{path(), std::ios::binary} << text;
    std::filesystem::permissions(path(), std::filesystem::perms{0600});
    return path();
  }
  [[nodiscard]] std::filesystem::path path() const { return folder_ / ".env"; }

  static std::string refusal_of(const std::filesystem::path& path) {
    try {
      static_cast<void>(read_dotenv(path));
    } catch (const config_error& failure) {
      return failure.what();
    }
    return {};
  }

  std::filesystem::path folder_;
};

TEST_F(dotenv_path, absent_is_nullopt) {
  EXPECT_FALSE(read_dotenv(path()));
}

TEST_F(dotenv_path, file_is_read_with_its_mode) {
  const auto file = read_dotenv(write("A=1\nB=2"));
  ASSERT_TRUE(file);
  EXPECT_EQ(file->variables, (variables{{"A", "1"}, {"B", "2"}}));
  EXPECT_FALSE(file->readable_by_others);
}

TEST_F(dotenv_path, group_or_world_readable_is_told) {
  for (const unsigned mode : {0640U, 0604U}) {
    std::filesystem::permissions(write("A=1"), std::filesystem::perms{mode});
    EXPECT_TRUE(read_dotenv(path())->readable_by_others) << std::oct << mode;
  }
}

TEST_F(dotenv_path, symbolic_link_to_a_file_is_followed) {
  std::filesystem::rename(write("A=1"), folder_ / "real");
  std::filesystem::create_symlink("real", path());
  EXPECT_EQ(read_dotenv(path())->variables.at("A"), "1");
}

TEST_F(dotenv_path, size_limit_is_exact) {
  const std::string most = "A=" + std::string(dotenv_size_limit - 2, 'x');
  EXPECT_EQ(refusal_of(write(most)), "");
  EXPECT_NE(refusal_of(write(most + "x")).find("/.env: is larger than 1 MiB"), std::string::npos);
}

TEST_F(dotenv_path, folder_and_fifo_are_refused_at_once) {
  std::filesystem::create_directory(path());
  EXPECT_NE(refusal_of(path()).find("/.env: is not a regular file"), std::string::npos);
  std::filesystem::remove(path());
  ASSERT_EQ(::mkfifo(path().c_str(), 0600), 0);
  EXPECT_NE(refusal_of(path()).find("/.env: is not a regular file"), std::string::npos);
}

TEST_F(dotenv_path, unreadable_path_is_refused_with_its_cause) {
  write("A=1");
  EXPECT_NE(refusal_of(path() / "below").find("cannot be read: Not a directory"),
            std::string::npos);
}

}  // namespace
}  // namespace soundhash::db
