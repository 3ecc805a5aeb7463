//! Does a point pass a filter? As the server's documentation has it: all of `must`, one of `should`, none of `must_not`.

use qdrant_client::qdrant::condition::ConditionOneOf;
use qdrant_client::qdrant::r#match::MatchValue;
use qdrant_client::qdrant::value::Kind;
use qdrant_client::qdrant::{Condition, FieldCondition, Filter, PointId, Value};
use tonic::Status;

use crate::table::Point;

pub(crate) fn passes(filter: &Filter, id: &PointId, point: &Point) -> Result<bool, Status> {
    if filter.min_should.is_some() {
        return Err(Status::unimplemented("min_should"));
    }
    for condition in &filter.must {
        if !holds(condition, id, point)? {
            return Ok(false);
        }
    }
    for condition in &filter.must_not {
        if holds(condition, id, point)? {
            return Ok(false);
        }
    }
    let mut any = filter.should.is_empty();
    for condition in &filter.should {
        any = any || holds(condition, id, point)?;
    }
    Ok(any)
}

fn holds(condition: &Condition, id: &PointId, point: &Point) -> Result<bool, Status> {
    match &condition.condition_one_of {
        Some(ConditionOneOf::Field(field)) => of_field(field, point),
        Some(ConditionOneOf::HasId(ids)) => Ok(ids.has_id.contains(id)),
        Some(ConditionOneOf::Filter(filter)) => passes(filter, id, point),
        other => Err(Status::unimplemented(format!("condition {other:?}"))),
    }
}

fn of_field(field: &FieldCondition, point: &Point) -> Result<bool, Status> {
    let Some(value) = point.payload.get(&field.key) else { return Ok(false) };
    // A list has what one of its values has.
    let values = match &value.kind {
        Some(Kind::ListValue(list)) => list.values.as_slice(),
        _ => std::slice::from_ref(value),
    };
    if let Some(range) = &field.range {
        let within = |value: &Value| {
            number(value).is_some_and(|n| {
                range.lt.is_none_or(|x| n < x)
                    && range.lte.is_none_or(|x| n <= x)
                    && range.gt.is_none_or(|x| n > x)
                    && range.gte.is_none_or(|x| n >= x)
            })
        };
        return Ok(values.iter().any(within));
    }
    match field.r#match.as_ref().and_then(|matches| matches.match_value.as_ref()) {
        Some(MatchValue::Keyword(wanted)) => Ok(values
            .iter()
            .any(|value| matches!(&value.kind, Some(Kind::StringValue(own)) if own == wanted))),
        Some(MatchValue::Integer(wanted)) => Ok(values
            .iter()
            .any(|value| matches!(value.kind, Some(Kind::IntegerValue(own)) if own == *wanted))),
        other => Err(Status::unimplemented(format!("match {other:?}"))),
    }
}

fn number(value: &Value) -> Option<f64> {
    match value.kind {
        Some(Kind::IntegerValue(whole)) => Some(whole as f64),
        Some(Kind::DoubleValue(number)) => Some(number),
        _ => None,
    }
}
