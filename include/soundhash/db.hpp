#pragma once

/// Everything a service needs: `#include <soundhash/db.hpp>`.
#include <soundhash/db/core/error.hpp>
#include <soundhash/db/database.hpp>
#include <soundhash/db/job_worker.hpp>
#include <soundhash/db/observe/logger.hpp>
