#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <tuple>
#include <vector>

#include <soundhash/db.hpp>

namespace service {

namespace sdb = soundhash::db;

struct tag {
  std::int32_t id = 0;
  std::string label;
  std::optional<double> weight;
};

}  // namespace service

template <>
struct soundhash::db::row_traits<service::tag> {
  static constexpr auto columns =
      std::tuple{column{"id", &service::tag::id}, column{"label", &service::tag::label},
                 column{"weight", &service::tag::weight}};
};

namespace service {

class tag_repository {
 public:
  explicit tag_repository(sdb::executor& on) : on_{&on} {}

  tag create(std::string_view label, std::optional<double> weight) {
    return on_->one<tag>(insert, {label, weight});
  }
  std::optional<tag> find(std::string_view label) { return on_->maybe<tag>(by_label, {label}); }
  std::vector<tag> with_labels(const std::vector<std::string>& labels) {
    return on_->all<tag>(by_labels, {labels});
  }

 private:
  static constexpr sdb::query insert{
      "tag.create", "INSERT INTO tags (label, weight) VALUES ($1, $2) RETURNING id, label, weight"};
  static constexpr sdb::query by_label{
      "tag.find", "SELECT id, label, weight FROM tags WHERE label = $1", sdb::access::read_only};
  static constexpr sdb::query by_labels{
      "tag.with_labels",
      "SELECT id, label, weight FROM tags WHERE label = ANY($1::text[]) ORDER BY label",
      sdb::access::read_only};

  sdb::executor* on_;
};

}  // namespace service
