#pragma once

#include "ratio.hpp"

/// An acquire and its return, through `database::acquire` on real sessions, with statistics on,
/// beside a mutex and a deque that keep none.
ratio_result measure_pool_cycle(const ratio_run& run, std::size_t threads);

/// How long 8 threads wait for 2 connections that are held for 1 ms, beside a pool of a mutex and a
/// condition variable, in which who comes late may be served first.
ratio_result measure_pool_fairness(const ratio_run& run);
