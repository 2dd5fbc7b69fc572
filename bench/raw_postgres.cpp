#include "raw_postgres.hpp"

#include <bit>
#include <charconv>
#include <chrono>
#include <cstring>
#include <stdexcept>

namespace sdb = soundhash::db;

namespace {

using std::chrono::microseconds;

/// 2000-01-01, PostgreSQL's epoch.
constexpr sdb::timestamp epoch{std::chrono::sys_days{std::chrono::year{2000} / 1 / 1}};

std::string_view cell(const PGresult* from, int row, int column) {
  return {PQgetvalue(from, row, column), static_cast<std::size_t>(PQgetlength(from, row, column))};
}

template <class T>
T parsed(std::string_view text) {
  T value{};
  std::from_chars(text.data(), text.data() + text.size(), value);
  return value;
}

/// "2026-11-28 08:56:39.123456", the fraction as long as needed.
sdb::timestamp parsed_time(std::string_view text) {
  namespace c = std::chrono;
  const auto number = [&](std::size_t at, std::size_t length) {
    return parsed<int>(text.substr(at, length));
  };
  const c::sys_days day{c::year{number(0, 4)} / number(5, 2) / number(8, 2)};
  int micros = 0;
  for (std::size_t i = 0; i < 6; ++i) {
    micros = micros * 10 + (20 + i < text.size() ? text[20 + i] - '0' : 0);
  }
  return day + c::hours{number(11, 2)} + c::minutes{number(14, 2)} + c::seconds{number(17, 2)} +
         microseconds{micros};
}

/// Network byte order.
template <class T>
T loaded(const char* from) {
  using unsigned_type = std::conditional_t<sizeof(T) == 4, std::uint32_t, std::uint64_t>;
  unsigned_type raw = 0;
  std::memcpy(&raw, from, sizeof raw);
  raw = sizeof(T) == 4
            ? static_cast<unsigned_type>(__builtin_bswap32(static_cast<std::uint32_t>(raw)))
            : static_cast<unsigned_type>(__builtin_bswap64(raw));
  return std::bit_cast<T>(raw);
}

/// One way to read a cell; NULL leaves the member empty.
struct text_cells {
  const PGresult* from;
  int row;

  void read(int column, std::string& to) const { to = cell(from, row, column); }
  void read(int column, std::int32_t& to) const {
    to = parsed<std::int32_t>(cell(from, row, column));
  }
  void read(int column, double& to) const { to = parsed<double>(cell(from, row, column)); }
  void read(int column, bool& to) const { to = *PQgetvalue(from, row, column) == 't'; }
  void read(int column, sdb::timestamp& to) const { to = parsed_time(cell(from, row, column)); }
  template <class T>
  void read(int column, std::optional<T>& to) const {
    if (PQgetisnull(from, row, column) == 0) read(column, to.emplace());
  }
};

struct binary_cells {
  const PGresult* from;
  int row;

  void read(int column, std::string& to) const { to = cell(from, row, column); }
  void read(int column, std::int32_t& to) const {
    to = loaded<std::int32_t>(PQgetvalue(from, row, column));
  }
  void read(int column, double& to) const { to = loaded<double>(PQgetvalue(from, row, column)); }
  void read(int column, bool& to) const { to = *PQgetvalue(from, row, column) != 0; }
  void read(int column, sdb::timestamp& to) const {
    to = epoch + microseconds{loaded<std::int64_t>(PQgetvalue(from, row, column))};
  }
  void read(int column, sdb::bytes& to) const {
    const auto* const data = reinterpret_cast<const std::byte*>(PQgetvalue(from, row, column));
    to.assign(data, data + PQgetlength(from, row, column));
  }
  template <class T>
  void read(int column, std::optional<T>& to) const {
    if (PQgetisnull(from, row, column) == 0) read(column, to.emplace());
  }
};

template <class Cells>
sdb::video read_video(const Cells& cells) {
  sdb::video to;
  cells.read(0, to.id);
  cells.read(1, to.video_id);
  cells.read(2, to.channel_id);
  cells.read(3, to.title);
  cells.read(4, to.description);
  cells.read(5, to.duration);
  cells.read(6, to.view_count);
  cells.read(7, to.like_count);
  cells.read(8, to.upload_date);
  cells.read(9, to.url);
  cells.read(10, to.thumbnail_url);
  cells.read(11, to.processed);
  cells.read(12, to.processing_started);
  cells.read(13, to.processing_completed);
  cells.read(14, to.processing_error);
  cells.read(15, to.created_at);
  cells.read(16, to.updated_at);
  return to;
}

}  // namespace

raw_postgres::raw_postgres(const sdb::database_options& where) {
  const auto port = std::to_string(where.port);
  const char* const keywords[] = {"host", "port", "dbname", "user", "password", nullptr};
  const char* const values[] = {where.host.c_str(),
                                port.c_str(),
                                where.name.c_str(),
                                where.user.c_str(),
                                where.password.reveal().c_str(),
                                nullptr};
  connection_.reset(PQconnectdbParams(keywords, values, 0));
  if (PQstatus(connection_.get()) != CONNECTION_OK) {
    throw std::runtime_error{std::string{"libpq: "} + PQerrorMessage(connection_.get())};
  }
}

raw_postgres::rows raw_postgres::checked(PGresult* got) const {
  rows kept{got};
  const auto status = PQresultStatus(got);
  if (status != PGRES_COMMAND_OK && status != PGRES_TUPLES_OK && status != PGRES_COPY_IN) {
    throw std::runtime_error{std::string{"libpq: "} + PQerrorMessage(connection_.get())};
  }
  return kept;
}

void raw_postgres::prepare(const char* name, const char* sql) {
  checked(PQprepare(connection_.get(), name, sql, 0, nullptr));
}

raw_postgres::rows raw_postgres::run(const char* name, std::initializer_list<const char*> values,
                                     format wanted) {
  return checked(PQexecPrepared(connection_.get(), name, static_cast<int>(values.size()),
                                values.begin(), nullptr, nullptr, static_cast<int>(wanted)));
}

raw_postgres::rows raw_postgres::command(const char* sql) {
  return checked(PQexec(connection_.get(), sql));
}

std::size_t raw_postgres::copy(const char* sql, std::string_view data) {
  checked(PQexec(connection_.get(), sql));
  if (PQputCopyData(connection_.get(), data.data(), static_cast<int>(data.size())) != 1 ||
      PQputCopyEnd(connection_.get(), nullptr) != 1) {
    throw std::runtime_error{"libpq: COPY ended"};
  }
  const auto done = checked(PQgetResult(connection_.get()));
  const std::string_view count = PQcmdTuples(done.get());
  while (auto* const more = PQgetResult(connection_.get())) checked(more);
  return parsed<std::size_t>(count);
}

sdb::video text_video(const PGresult* from, int row) {
  return read_video(text_cells{from, row});
}
sdb::video binary_video(const PGresult* from, int row) {
  return read_video(binary_cells{from, row});
}

sdb::fingerprint binary_fingerprint(const PGresult* from, int row) {
  const binary_cells cells{from, row};
  sdb::fingerprint to;
  cells.read(0, to.id);
  cells.read(1, to.video_id);
  cells.read(2, to.start_time);
  cells.read(3, to.end_time);
  cells.read(4, to.fingerprint_hash);
  cells.read(5, to.sample_rate);
  cells.read(6, to.segment_length);
  cells.read(7, to.confidence_score);
  cells.read(8, to.peak_count);
  cells.read(9, to.created_at);
  cells.read(10, to.n_fft);
  cells.read(11, to.hop_length);
  return to;
}

sdb::fingerprint_with_data binary_fingerprint_with_data(const PGresult* from, int row) {
  sdb::fingerprint_with_data to;
  to.fingerprint = binary_fingerprint(from, row);
  binary_cells{from, row}.read(12, to.fingerprint_data);
  return to;
}
