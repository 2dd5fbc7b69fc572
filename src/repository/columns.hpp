#pragma once

// Pieces of SQL text that several queries share. Literals, so that a query stays one literal.

/// The server's clock as the schema keeps time: UTC without time zone.
#define SOUNDHASH_DB_UTC_NOW "timezone('utc', clock_timestamp())"

/// The columns of a channel: `from` is "c." or "", `as` goes before each name in the result.
#define SOUNDHASH_DB_CHANNEL_COLUMNS(from, as)                                                   \
  from "id AS \"" as "id\", " from "channel_id AS \"" as "channel_id\", " from                   \
       "channel_name AS \"" as "channel_name\", " from "description AS \"" as                    \
       "description\", " from "subscriber_count AS \"" as "subscriber_count\", " from            \
       "video_count AS \"" as "video_count\", " from "created_at AS \"" as "created_at\", " from \
       "updated_at AS \"" as "updated_at\", " from "last_processed AS \"" as                     \
       "last_processed\", " from "is_active AS \"" as "is_active\""
