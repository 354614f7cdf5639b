//! What ends by itself, with a stopped clock: how long runs and questions are kept, how long a person is waited
//! for, and that a call is answered before its client gives up.

use std::collections::HashMap;
use std::rc::Rc;
use std::time::Duration;

use rmcp::model::{
    CallToolRequestParams, CallToolResponse, ClientJsonRpcMessage, ErrorData, ServerJsonRpcMessage,
};
use rmcp::service::RequestContext;
use rmcp::transport::Transport;
use rmcp::{RoleServer, ServerHandler, ServiceExt};
use serde_json::{Map, Value, json};
use tokio::sync::mpsc;
use tokio::time::{Instant, advance, timeout};

use super::call::{ANSWER_WITHIN, Call};
use super::consent::{Consents, FOR_THE_HOSTS, OPEN_FOR, Question, Word};
use super::kept::{KEPT_FOR, KeptHost, KeptRun, KeptRuns, MOST_BYTES};
use super::query::Query;
use crate::notices::{Level, Notices};

/// When clients give up.
const CLIENTS_WAIT: Duration = Duration::from_secs(60);
const MOMENT: Duration = Duration::from_millis(1);

fn query() -> Query {
    let query = json!({
        "instance": "corp", "template": "running_processes", "target_platforms": ["linux"],
    });
    serde_json::from_value(query).expect("a query")
}

/// A run of one host, whose document has so many bytes.
fn run(id: &str, bytes: usize) -> KeptRun {
    let rows = r#"[{"pid":"1"}]"#;
    let document = format!("{rows}{}", " ".repeat(bytes - rows.len()));
    KeptRun {
        id: id.to_owned(),
        query: query(),
        confirmed: 1,
        document: document.into(),
        head: Map::new(),
        hosts: vec![KeptHost {
            shown: "web-01".into(),
            key: "web-01".into(),
            rows: 0..rows.len(),
            count: 1,
        }],
        names: HashMap::new(),
        notices: Notices::new(Level::Warning, |_, _| {}),
    }
}

/// Whether a run can be gone on with, and so read on.
fn is_kept(runs: &KeptRuns, id: &str) -> bool {
    let mut same = Query {
        target_platforms: Vec::new(),
        ..query()
    };
    runs.resumed(id, &mut same).is_ok()
}

#[tokio::test(start_paused = true)]
async fn a_run_is_kept_for_a_quarter_of_an_hour() {
    let runs = KeptRuns::default();
    runs.keep(run("early", 100));
    advance(Duration::from_secs(60)).await;
    runs.keep(run("late", 100));
    advance(KEPT_FOR - Duration::from_secs(60) - MOMENT).await;
    assert!(is_kept(&runs, "early") && is_kept(&runs, "late"));
    advance(MOMENT).await;
    assert!(!is_kept(&runs, "early") && is_kept(&runs, "late"));
    advance(Duration::from_secs(60)).await;
    assert!(!is_kept(&runs, "late"));
    assert_eq!(KEPT_FOR, Duration::from_secs(15 * 60));
}

/// Who looks at it no more has its memory back, though nobody asks for it.
#[tokio::test(start_paused = true)]
async fn what_is_old_is_dropped_though_nobody_asks() {
    let runs = Rc::new(KeptRuns::default());
    let kept = Rc::downgrade(&runs.keep(run("one", 100)));
    let tasks = tokio::task::LocalSet::new();
    tasks.spawn_local(super::forget(Rc::clone(&runs)));
    let waiting = tokio::time::sleep(KEPT_FOR - Duration::from_secs(1));
    tasks.run_until(waiting).await;
    assert!(kept.upgrade().is_some());
    tasks
        .run_until(tokio::time::sleep(Duration::from_secs(62)))
        .await;
    assert!(kept.upgrade().is_none());
}

#[tokio::test(start_paused = true)]
async fn the_oldest_goes_where_there_is_more_than_64_mib() {
    assert_eq!(MOST_BYTES, 64 * 1024 * 1024);
    let runs = KeptRuns::default();
    let third = MOST_BYTES / 3 - 8 * 1024;
    for id in ["one", "two", "three"] {
        runs.keep(run(id, third));
    }
    assert!(["one", "two", "three"].iter().all(|id| is_kept(&runs, id)));
    // A few small ones have room still.
    runs.keep(run("small", 1_000));
    assert!(is_kept(&runs, "one"));
    runs.keep(run("four", third));
    let kept = ["one", "two", "three", "small", "four"].map(|id| is_kept(&runs, id));
    assert_eq!(kept, [false, true, true, true, true]);
    // What is larger than all of it is answered, and not kept; nor is anything else then.
    let large = runs.keep(run("large", MOST_BYTES));
    assert_eq!(large.id, "large");
    let kept = ["two", "three", "small", "four", "large"].map(|id| is_kept(&runs, id));
    assert_eq!(kept, [false; 5]);
}

/// A client and a server in one process: messages as the client writes them, and what it gets.
struct Line {
    requests: mpsc::UnboundedReceiver<ClientJsonRpcMessage>,
    answers: mpsc::UnboundedSender<ServerJsonRpcMessage>,
}

impl Transport<RoleServer> for Line {
    type Error = std::io::Error;

    fn send(
        &mut self,
        message: ServerJsonRpcMessage,
    ) -> impl Future<Output = Result<(), Self::Error>> + Send + 'static {
        let sent = self.answers.send(message);
        async move { sent.map_err(|_| std::io::ErrorKind::BrokenPipe.into()) }
    }

    async fn receive(&mut self) -> Option<ClientJsonRpcMessage> {
        self.requests.recv().await
    }

    async fn close(&mut self) -> Result<(), Self::Error> {
        Ok(())
    }
}

/// Asks its client's user in each call, after so long, and answers with what came of it.
struct Asker {
    after: Duration,
}

impl ServerHandler for Asker {
    async fn call_tool(
        &self,
        request: CallToolRequestParams,
        context: RequestContext<RoleServer>,
    ) -> Result<CallToolResponse, ErrorData> {
        let call = Call::new(Value::Null, request, context);
        tokio::time::sleep(self.after).await;
        let (query, consents) = (query(), Consents::default());
        let question = Question {
            query: &query,
            sql: "SELECT 1",
            hosts: 9,
            above: 5,
            consents: &consents,
        };
        let word = question.ask(&call).await;
        let left = call.seconds(45);
        Ok(match word {
            Ok(Word::Agreed) => super::server::complete(json!({"seconds_left": left})).into(),
            Ok(Word::Later(question)) => *question,
            Err(refusal) => refusal.into_result().into(),
        })
    }
}

/// A client that has shaken hands, can ask its user, and has made one call.
struct Client {
    requests: mpsc::UnboundedSender<ClientJsonRpcMessage>,
    answers: mpsc::UnboundedReceiver<ServerJsonRpcMessage>,
}

impl Client {
    fn write(&self, message: Value) {
        let message = serde_json::from_value(message).expect("a message");
        self.requests.send(message).expect("a server that reads");
    }

    async fn read(&mut self) -> Value {
        let message = timeout(CLIENTS_WAIT, self.answers.recv()).await;
        let message = message.expect("in time").expect("a message");
        serde_json::to_value(message).expect("JSON")
    }
}

async fn called(after: Duration, test: impl AsyncFnOnce(Client)) {
    let (requests, asked) = mpsc::unbounded_channel();
    let (said, answers) = mpsc::unbounded_channel();
    let line = Line {
        requests: asked,
        answers: said,
    };
    let mut client = Client { requests, answers };
    let tasks = tokio::task::LocalSet::new();
    tasks.spawn_local(async move {
        let running = Asker { after }.serve(line).await.expect("a handshake");
        running.waiting().await.expect("an end")
    });
    let talking = async {
        client.write(
            json!({"jsonrpc": "2.0", "id": 1, "method": "initialize", "params": {
            "protocolVersion": "2025-11-25", "capabilities": {"elicitation": {}},
            "clientInfo": {"name": "a test", "version": "1"}}}),
        );
        let hello = client.read().await;
        assert_eq!(hello["result"]["protocolVersion"], "2025-11-25", "{hello}");
        client.write(json!({"jsonrpc": "2.0", "method": "notifications/initialized"}));
        client.write(json!({"jsonrpc": "2.0", "id": 2, "method": "tools/call",
            "params": {"name": "run_live_query", "arguments": {}}}));
        test(client).await;
    };
    tasks.run_until(talking).await;
}

/// Nobody answers the question: the call is refused in time, with time for nothing else.
#[tokio::test(start_paused = true)]
async fn a_question_that_nobody_answers_ends_the_call_in_time() {
    called(Duration::ZERO, async |mut client: Client| {
        let begun = Instant::now();
        let question = client.read().await;
        assert_eq!(question["method"], "elicitation/create", "{question}");
        // The SDK withdraws the question, and then the call is answered.
        let mut answer = client.read().await;
        while answer["id"] != 2 {
            answer = client.read().await;
        }
        let took = begun.elapsed();
        assert!(took >= ANSWER_WITHIN - FOR_THE_HOSTS, "{took:?}");
        assert!(took < ANSWER_WITHIN, "{took:?}");
        let result = &answer["result"];
        assert_eq!(result["isError"], true, "{answer}");
        let text = result.to_string();
        assert!(
            text.contains("nobody confirmed the query on 9 hosts in time"),
            "{text}"
        );
        assert!(text.contains("policy"), "{text}");
    })
    .await;
}

/// A person who takes their time leaves less of it for the hosts, and never less than some seconds.
#[tokio::test(start_paused = true)]
async fn what_a_person_takes_is_not_given_to_the_hosts() {
    for (thinks, left) in [(0, 45), (10, 38), (39, 9)] {
        called(Duration::ZERO, async |mut client: Client| {
            let question = client.read().await;
            tokio::time::sleep(Duration::from_secs(thinks)).await;
            client.write(json!({"jsonrpc": "2.0", "id": question["id"],
                "result": {"action": "accept", "content": {"run": true}}}));
            let answer = client.read().await;
            let seconds = &answer["result"]["structuredContent"]["seconds_left"];
            let seconds = seconds.as_u64().unwrap_or_else(|| panic!("{answer}"));
            // Whole seconds: a moment has passed.
            assert!((left - 1..=left).contains(&seconds), "{thinks}: {seconds}");
        })
        .await;
    }
}

/// Whatever a call has waited for before, hosts are given what is left, and it is answered within 50 s.
#[tokio::test(start_paused = true)]
async fn a_call_is_answered_before_its_client_gives_up() {
    assert!(ANSWER_WITHIN + Duration::from_secs(1) < Duration::from_secs(50));
    // Where nothing is left, nobody is asked to wait for it.
    called(
        ANSWER_WITHIN - Duration::from_secs(4),
        async |mut client: Client| {
            let begun = Instant::now();
            let mut answer = client.read().await;
            while answer["id"] != 2 {
                answer = client.read().await;
            }
            assert!(begun.elapsed() < Duration::from_secs(50));
            assert_eq!(answer["result"]["isError"], true, "{answer}");
        },
    )
    .await;
}

#[tokio::test(start_paused = true)]
async fn a_question_of_the_stateless_era_is_open_for_a_quarter_of_an_hour() {
    let consents = Consents::default();
    let word = |state: &str| {
        let request = json!({
            "name": "run_live_query", "requestState": state,
            "inputResponses": {"confirm": {"action": "accept", "content": {"run": true}}},
        });
        let request: CallToolRequestParams = serde_json::from_value(request).expect("a request");
        consents.given(&request, &query())
    };
    let (first, second) = (consents.open(query(), 9), consents.open(query(), 9));
    advance(OPEN_FOR - MOMENT).await;
    assert!(matches!(word(&first), Ok(Some(9))));
    assert!(word(&first).is_err(), "good once");
    advance(MOMENT).await;
    assert!(word(&second).is_err(), "too late");
}
