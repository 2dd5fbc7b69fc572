#pragma once

#include <string_view>

/// SQLSTATE codes that this library treats specially.
/// Source: PostgreSQL documentation, appendix A, "PostgreSQL Error Codes".
namespace soundhash::db::sqlstate {

inline constexpr std::string_view protocol_violation = "08P01";
inline constexpr std::string_view invalid_authorization = "28000";
inline constexpr std::string_view invalid_password = "28P01";
inline constexpr std::string_view invalid_catalog_name = "3D000";
inline constexpr std::string_view read_only_sql_transaction = "25006";
inline constexpr std::string_view in_failed_sql_transaction = "25P02";
inline constexpr std::string_view invalid_sql_statement_name = "26000";
inline constexpr std::string_view feature_not_supported = "0A000";
inline constexpr std::string_view not_null_violation = "23502";
inline constexpr std::string_view foreign_key_violation = "23503";
inline constexpr std::string_view unique_violation = "23505";
inline constexpr std::string_view check_violation = "23514";
inline constexpr std::string_view exclusion_violation = "23P01";
inline constexpr std::string_view serialization_failure = "40001";
inline constexpr std::string_view statement_completion_unknown = "40003";
inline constexpr std::string_view deadlock_detected = "40P01";
inline constexpr std::string_view duplicate_object = "42710";
inline constexpr std::string_view duplicate_prepared_statement = "42P05";
inline constexpr std::string_view duplicate_table = "42P07";
inline constexpr std::string_view undefined_table = "42P01";
inline constexpr std::string_view too_many_connections = "53300";
inline constexpr std::string_view lock_not_available = "55P03";
inline constexpr std::string_view query_canceled = "57014";
inline constexpr std::string_view admin_shutdown = "57P01";
inline constexpr std::string_view crash_shutdown = "57P02";
inline constexpr std::string_view cannot_connect_now = "57P03";
inline constexpr std::string_view idle_session_timeout = "57P05";

}  // namespace soundhash::db::sqlstate
