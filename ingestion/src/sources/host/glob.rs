//! Patterns in which `*` stands for any characters and `?` for one: what settings use to leave things out.

/// A set of patterns.
#[derive(Clone, Debug, Default)]
pub(crate) struct Globs(Vec<String>);

impl Globs {
    pub(crate) fn new(patterns: &[String]) -> Self {
        Self(patterns.to_vec())
    }

    /// Whether any pattern matches the whole of `text`.
    pub(crate) fn matches(&self, text: &str) -> bool {
        self.0
            .iter()
            .any(|pattern| matches(pattern.as_bytes(), text.as_bytes()))
    }
}

/// Greedy matching with one point of return, the last `*`: linear in practice, never exponential.
fn matches(pattern: &[u8], text: &[u8]) -> bool {
    let (mut p, mut t) = (0, 0);
    let mut retry: Option<(usize, usize)> = None;
    while t < text.len() {
        match pattern.get(p) {
            Some(b'*') => {
                retry = Some((p + 1, t));
                p += 1;
            }
            Some(&c) if c == b'?' || c == text[t] => {
                p += 1;
                t += 1;
            }
            _ => match retry {
                Some((after_star, taken)) => {
                    retry = Some((after_star, taken + 1));
                    p = after_star;
                    t = taken + 1;
                }
                None => return false,
            },
        }
    }
    pattern[p..].iter().all(|&c| c == b'*')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn stars_and_question_marks_match_as_people_expect() {
        let globs = Globs::new(&["veth*".into(), "/run/*".into(), "sd?".into(), "*a*b".into()]);
        for yes in ["veth", "veth0a1", "/run/user/1000", "sda", "xxaab", "ab"] {
            assert!(globs.matches(yes), "{yes}");
        }
        for no in ["eveth0", "/run", "sdab1", "sd", "ba"] {
            assert!(!globs.matches(no), "{no}");
        }
    }
}
