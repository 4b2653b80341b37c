//! Names: functions from payload bytes to the names in them.
