//! Parameters of unnamed statements, which are sent with their types.

use postgres::types::{ToSql, Type};

/// A parameter of an unnamed statement: its type is sent with it.
pub(crate) trait SqlParameter: ToSql + Sync {
    fn kind(&self) -> Type;

    fn as_sql(&self) -> &(dyn ToSql + Sync);
}

macro_rules! values {
    ($($value:ty => $kind:ident),* $(,)?) => {
        $(impl SqlParameter for $value {
            fn kind(&self) -> Type {
                Type::$kind
            }

            fn as_sql(&self) -> &(dyn ToSql + Sync) {
                self
            }
        })*
    };
}

values! {
    bool => BOOL,
    i32 => INT4,
    i64 => INT8,
    f64 => FLOAT8,
    String => TEXT,
    &str => TEXT,
    &[u8] => BYTEA,
    Vec<u8> => BYTEA,
    Vec<i64> => INT8_ARRAY,
    &[i64] => INT8_ARRAY,
    Vec<String> => TEXT_ARRAY,
    Vec<&[u8]> => BYTEA_ARRAY,
}
