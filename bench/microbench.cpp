// What the library adds to a query on the client's side, without a server.

#include <chrono>
#include <string>
#include <vector>

#include <benchmark/benchmark.h>

#include <soundhash/db.hpp>

namespace sdb = soundhash::db;

namespace {

void bind_three_parameters(benchmark::State& state) {
  const std::string text = "dQw4w9WgXcQ";
  for (auto _ : state) {
    const sdb::params values{text, std::int32_t{42}, 0.125};
    benchmark::DoNotOptimize(values.size());
  }
}
BENCHMARK(bind_three_parameters);

void bind_array_of_1000(benchmark::State& state) {
  const std::vector<std::string> hashes(1000, "0123456789abcdef0123456789abcdef");
  for (auto _ : state) {
    const sdb::params values{hashes};
    benchmark::DoNotOptimize(values.size());
  }
}
BENCHMARK(bind_array_of_1000);

void decode_timestamp(benchmark::State& state) {
  std::string data;
  sdb::codec<sdb::timestamp>::append_binary(
      data, std::chrono::floor<std::chrono::microseconds>(std::chrono::system_clock::now()));
  for (auto _ : state) {
    sdb::timestamp value;
    benchmark::DoNotOptimize(sdb::codec<sdb::timestamp>::decode(data, sdb::oid::timestamp, value));
  }
}
BENCHMARK(decode_timestamp);

/// Timing is two clock reads; recording is compared with them.
void two_clock_reads(benchmark::State& state) {
  for (auto _ : state) {
    benchmark::DoNotOptimize(std::chrono::steady_clock::now());
    benchmark::DoNotOptimize(std::chrono::steady_clock::now());
  }
}
BENCHMARK(two_clock_reads)->ThreadRange(1, 8);

void record_one_statement(benchmark::State& state) {
  static sdb::metrics registry{std::chrono::milliseconds{100}};
  sdb::statement_event event{.name = "video.find_by_video_id", .sql = "SELECT 1"};
  event.execute = std::chrono::microseconds{46};
  for (auto _ : state) registry.record(event);
}
BENCHMARK(record_one_statement)->ThreadRange(1, 8);

}  // namespace
