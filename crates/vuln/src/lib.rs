//! Feeds become one mapped Db; components are matched against it
