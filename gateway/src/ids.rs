//! Names for requests and answers: new each time, later ones sort behind earlier ones.

use std::time::{SystemTime, UNIX_EPOCH};

/// `prefix` and a UUID of version 7 (RFC 9562, section 5.7): the milliseconds since 1970, then random bits.
///
/// They only have to differ, nobody must not guess them: a generator of the thread does, and spares the system call that
/// each would cost otherwise.
pub fn fresh(prefix: &str) -> String {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    let millis = u64::try_from(since.as_millis()).unwrap_or(u64::MAX);
    let [random @ .., _, _, _, _, _, _] = fastrand::u128(..).to_le_bytes();
    let id = uuid::Builder::from_unix_timestamp_millis(millis, &random).into_uuid();
    let mut out = String::with_capacity(prefix.len() + uuid::fmt::Simple::LENGTH);
    out.push_str(prefix);
    out.push_str(id.simple().encode_lower(&mut [0; uuid::fmt::Simple::LENGTH]));
    out
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::HashSet;

    #[test]
    fn ids_differ_also_between_threads_and_carry_the_time() {
        let many = || (0..2000).map(|_| fresh("req_")).collect::<Vec<_>>();
        let threads: Vec<_> = (0..4).map(|_| std::thread::spawn(many)).collect();
        let ids: HashSet<String> = threads.into_iter().flat_map(|thread| thread.join().unwrap()).collect();
        assert_eq!(ids.len(), 4 * 2000);
        for id in ids {
            let uuid = uuid::Uuid::parse_str(id.strip_prefix("req_").unwrap()).unwrap();
            assert_eq!(uuid.get_version_num(), 7);
            let (seconds, _) = uuid.get_timestamp().unwrap().to_unix();
            assert!(SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs() - seconds < 60);
        }
    }
}
