//! Columns of other programs: any width of text, list and number that can hold the schema's values.

use std::sync::Arc;

use arrow_array::Array;
use arrow_array::cast::AsArray as _;
use arrow_array::types::{
    Decimal128Type, Float16Type, Float32Type, Float64Type, Int8Type, Int16Type, Int32Type,
    Int64Type, UInt8Type, UInt16Type, UInt32Type, UInt64Type,
};
use arrow_schema::{DataType, Fields, Schema};

/// The schema with the types that columns are read as.
pub(super) fn as_read(schema: &Schema) -> Schema {
    let fields = schema.fields().iter().map(|field| {
        let kind = read_as(field.data_type());
        field.as_ref().clone().with_data_type(kind)
    });
    Schema::new_with_metadata(fields.collect::<Fields>(), schema.metadata().clone())
}

/// The type that a column is read as. Texts are views into their page, so that an entry of a
/// dictionary is in memory once. All kinds of lists are read as one.
pub(super) fn read_as(kind: &DataType) -> DataType {
    match kind {
        DataType::Utf8 | DataType::LargeUtf8 => DataType::Utf8View,
        DataType::Binary | DataType::LargeBinary => DataType::BinaryView,
        DataType::Dictionary(_, value) => read_as(value),
        DataType::List(item) | DataType::LargeList(item) | DataType::FixedSizeList(item, _) => {
            let kind = read_as(item.data_type());
            DataType::List(Arc::new(item.as_ref().clone().with_data_type(kind)))
        }
        other => other.clone(),
    }
}

/// Whether a column of one type may be read as another; the values are checked one by one.
pub(super) fn is_compatible(found: &DataType, expected: &DataType) -> bool {
    let is_number = |kind: &DataType| {
        kind.is_integer() || kind.is_floating() || matches!(kind, DataType::Decimal128(_, 0))
    };
    let is_binary =
        |kind: &DataType| matches!(kind, DataType::BinaryView | DataType::FixedSizeBinary(_));
    match (found, expected) {
        (DataType::List(a), DataType::List(b)) => is_compatible(a.data_type(), b.data_type()),
        // Any numeric type passes here, since each value is checked when it is read: a fraction in
        // a column of whole numbers is refused in its row.
        (a, b) => a == b || is_number(a) && is_number(b) || is_binary(a) && is_binary(b),
    }
}

/// A number in a column.
#[derive(Clone, Copy)]
pub(super) enum NumericValue {
    Whole(i128),
    Real(f64),
}

impl NumericValue {
    pub(super) fn real(self) -> f64 {
        match self {
            Self::Whole(number) => number as f64,
            Self::Real(number) => number,
        }
    }

    /// `None` if it is not whole or does not fit.
    pub(super) fn whole<T: TryFrom<i128>>(self) -> Option<T> {
        let number = match self {
            Self::Whole(number) => number,
            // A cast to 128 bits saturates, and a number that is too large does not fit into `T` then.
            Self::Real(number) => Some(number).filter(|number| number.fract() == 0.0)? as i128,
        };
        number.try_into().ok()
    }
}

/// A value of a numeric column of any type.
pub(super) fn number_at(column: &dyn Array, row: usize) -> Option<NumericValue> {
    macro_rules! number {
        ($($kind:pat => $type:ty, $number:ident;)+) => {
            match column.data_type() {
                $($kind => Some(NumericValue::$number(column.as_primitive::<$type>().value(row).into())),)+
                _ => None,
            }
        };
    }
    if column.is_null(row) {
        return None;
    }
    number! {
        DataType::Int8 => Int8Type, Whole;
        DataType::Int16 => Int16Type, Whole;
        DataType::Int32 => Int32Type, Whole;
        DataType::Int64 => Int64Type, Whole;
        DataType::UInt8 => UInt8Type, Whole;
        DataType::UInt16 => UInt16Type, Whole;
        DataType::UInt32 => UInt32Type, Whole;
        DataType::UInt64 => UInt64Type, Whole;
        DataType::Decimal128(_, _) => Decimal128Type, Whole;
        DataType::Float16 => Float16Type, Real;
        DataType::Float32 => Float32Type, Real;
        DataType::Float64 => Float64Type, Real;
    }
}

/// Numbers of any type; `None` if one is missing.
pub(super) fn reals(values: &dyn Array) -> Option<Vec<f32>> {
    match values.data_type() {
        // A vector with a null is no vector.
        _ if values.null_count() > 0 => None,
        DataType::Float16 => Some(
            values
                .as_primitive::<Float16Type>()
                .values()
                .iter()
                .map(|x| x.to_f32())
                .collect(),
        ),
        DataType::Float32 => Some(values.as_primitive::<Float32Type>().values().to_vec()),
        _ => (0..values.len())
            .map(|i| number_at(values, i).map(|number| number.real() as f32))
            .collect(),
    }
}

/// As [`reals`], for a vector of which only the direction counts: its length may exceed single precision.
pub(super) fn direction(values: &dyn Array) -> Option<Vec<f32>> {
    let doubles = values.as_primitive_opt::<Float64Type>();
    let Some(doubles) = doubles.filter(|doubles| doubles.null_count() == 0) else {
        return reals(values);
    };
    let largest = |most: f64, x: &f64| most.max(x.abs());
    let largest = doubles.values().iter().fold(0.0, largest);
    let is_beyond = largest > 1e30 || largest > 0.0 && largest < 1e-30;
    let scale = if is_beyond && largest.is_finite() {
        largest
    } else {
        1.0
    };
    let scaled = doubles.values().iter().map(|x| (x / scale) as f32);
    Some(scaled.collect())
}

/// Bytes of text in a row of a column of any type.
pub(super) fn text_length(column: &dyn Array, row: usize) -> usize {
    if column.is_null(row) {
        return 0;
    }
    match column.data_type() {
        DataType::Utf8View => column.as_string_view().value(row).len(),
        DataType::BinaryView => column.as_binary_view().value(row).len(),
        DataType::List(item) if *item.data_type() == DataType::Utf8View => {
            let texts = column.as_list::<i32>().value(row);
            // Each text of a list takes memory besides its bytes.
            (0..texts.len())
                .map(|text| text_length(&texts, text) + size_of::<String>())
                .sum()
        }
        _ => 0,
    }
}
