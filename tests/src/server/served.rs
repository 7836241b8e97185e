/// What a server says that the application made it do to one table.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Served {
    /// Statements that read it.
    pub reads: i64,
    /// Statements that changed it.
    pub writes: i64,
}

/// How often the application has had one statement executed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StatementCount {
    /// Its text, constants replaced by `$1`, `$2` … in PostgreSQL and by `?` in MariaDB. Statements
    /// that differ in constants, comments or layout alone are counted together: a comment is no
    /// mark to tell them apart by.
    pub text: String,
    /// The number of executions that came to their end without an error.
    pub calls: i64,
}

impl Served {
    /// What these statements did to `table`.
    pub(crate) fn count(statements: &[StatementCount], table: &str) -> Self {
        let mut served = Self::default();
        for statement in statements {
            let words = words(&statement.text);
            if !words.iter().any(|word| word == table) {
                continue;
            }
            match words.first().map(String::as_str) {
                Some("insert" | "replace" | "update" | "delete" | "merge" | "truncate") => {
                    served.writes += statement.calls;
                }
                // A CTE may write.
                Some("with") if words.iter().any(|word| is_write(word)) => {
                    served.writes += statement.calls;
                }
                Some("select" | "with" | "table") => served.reads += statement.calls,
                // Such as CREATE TABLE.
                _ => {}
            }
        }
        served
    }
}

/// The words of a statement in lower case, without its comments.
fn words(statement: &str) -> Vec<String> {
    let mut code = String::new();
    let mut rest = statement;
    while let Some(start) = rest.find("/*") {
        code.push_str(&rest[..start]);
        code.push(' ');
        rest = rest[start..]
            .split_once("*/")
            .map_or("", |(_, after)| after);
    }
    code.push_str(rest);
    code.lines()
        .map(|line| line.split_once("--").map_or(line, |(before, _)| before))
        .flat_map(|line| line.split(|c: char| !c.is_alphanumeric() && c != '_'))
        .filter(|word| !word.is_empty())
        .map(str::to_lowercase)
        .collect()
}

fn is_write(word: &str) -> bool {
    matches!(word, "insert" | "update" | "delete" | "merge")
}
