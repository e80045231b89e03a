// How this folder's coroutines wait: for a result, and an error code instead of an exception.
#pragma once

#include <boost/asio/redirect_error.hpp>
#include <boost/asio/use_awaitable.hpp>

namespace culvert::control::io {

inline auto token(boost::system::error_code& error) { return boost::asio::redirect_error(boost::asio::use_awaitable, error); }

}  // namespace culvert::control::io
