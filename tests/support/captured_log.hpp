#pragma once

#include <memory>
#include <mutex>
#include <string>
#include <utility>

#include <spdlog/logger.h>
#include <spdlog/sinks/base_sink.h>

#include <soundhash/db/observe/logger.hpp>

namespace soundhash::db::test {

/// Collects what the library logs while it lives, from level info on: "warning slow statement …".
/// Thread safety: text() is safe while others log.
class captured_log {
 public:
  captured_log() {
    auto made = std::make_shared<spdlog::logger>("captured", sink_);
    made->set_level(spdlog::level::info);
    made->set_pattern("%l %v");
    set_logger(std::move(made));
  }
  ~captured_log() { set_logger(nullptr); }
  captured_log(const captured_log&) = delete;
  captured_log& operator=(const captured_log&) = delete;

  [[nodiscard]] std::string text() const { return sink_->text(); }

 private:
  class text_sink : public spdlog::sinks::base_sink<std::mutex> {
   public:
    std::string text() {
      const std::lock_guard lock{mutex_};
      return text_;
    }

   private:
    void sink_it_(const spdlog::details::log_msg& message) override {
      spdlog::memory_buf_t line;
      formatter_->format(message, line);
      text_.append(line.data(), line.size());
    }
    void flush_() override {}

    std::string text_;
  };

  std::shared_ptr<text_sink> sink_ = std::make_shared<text_sink>();
};

}  // namespace soundhash::db::test
