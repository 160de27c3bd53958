//! Libraries for other engines and other machines: Parquet files, and PostgreSQL with pgvector.

#![forbid(unsafe_code)]

#[cfg(feature = "parquet")]
pub mod parquet;
#[cfg(feature = "postgres")]
pub mod postgres;
#[cfg(any(feature = "parquet", feature = "postgres"))]
mod row;
