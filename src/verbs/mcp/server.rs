//! What the server says of itself, and which tool a call means. The SDK knows both eras of the protocol; here
//! it is only looked which one a client speaks.

use std::borrow::Cow;
use std::cell::RefCell;
use std::rc::Rc;
use std::sync::Arc;

use rmcp::model::{
    CacheScope, CallToolRequestParams, CallToolResponse, CallToolResult, ContentBlock, ErrorData,
    Implementation, ListResourceTemplatesResult, ListResourcesResult, ListToolsResult,
    PaginatedRequestParams, ReadResourceRequestParams, ReadResourceResponse, ServerCapabilities,
    ServerConfig,
};
use rmcp::service::RequestContext;
use rmcp::{RoleServer, ServerHandler};
use serde_json::Value;
use tokio::task::JoinSet;

use super::call::Call;
use super::consent::Consents;
use super::kept::KeptRuns;
use super::rate::Rate;
use super::refusal::Refusal;
use super::tools::{self, Tool};
use super::transport::Ticket;
use super::{hosts, live, resources, templates};
use crate::exit::Code;
use crate::policy::models::ModelPolicy;
use crate::process::stderr::Stderr;
use crate::session::Cancel;

/// Calls that are served at once; more are refused at once.
const MOST_AT_ONCE: usize = 32;
/// How long a client may keep a list: the policy is read once.
const FRESH_MS: u64 = 3_600_000;

/// The server of one client.
pub(super) struct Server {
    pub policy: Arc<ModelPolicy>,
    /// Says that all is to end.
    pub closing: Cancel,
    pub stderr: Stderr,
    pub kept: Rc<KeptRuns>,
    pub rate: Rate,
    pub consents: Consents,
    afterwards: Afterwards,
}

impl Server {
    pub(super) fn new(policy: Arc<ModelPolicy>, closing: Cancel, stderr: Stderr) -> Self {
        Self {
            policy,
            closing,
            stderr,
            kept: Rc::default(),
            rate: Rate::default(),
            consents: Consents::default(),
            afterwards: Afterwards::default(),
        }
    }

    /// What is done behind answers.
    pub(super) fn afterwards(&self) -> Afterwards {
        self.afterwards.clone()
    }

    async fn answer(&self, tool: &'static Tool, call: Call) -> Result<CallToolResponse, Refusal> {
        tool.check(&call.arguments)?;
        let policy = &*self.policy;
        let answer = match tool.name {
            "find_templates" => templates::find(policy, &call.typed()?),
            "describe_template" => templates::describe(policy, &call.typed()?)?,
            "find_hosts" => hosts::search(self, &call).await?,
            "plan_live_query" => return live::plan(self, &call).await,
            "run_live_query" => return live::run(self, &call).await,
            "read_rows" => self.kept.read(policy, &call.typed()?)?,
            _ => return Err(unknown_tool(tool.name)),
        };
        Ok(complete(answer).into())
    }
}

/// The answer in both forms.
pub(super) fn complete(answer: Value) -> CallToolResult {
    let mut result = CallToolResult::success(vec![ContentBlock::text(answer.to_string())]);
    result.structured_content = Some(answer);
    result
}

fn unknown_tool(name: &str) -> Refusal {
    let names: Vec<&str> = tools::ALL.iter().map(|tool| tool.name).collect();
    Refusal::new(
        Code::Usage,
        format!("there is no tool `{name}`"),
        format!("the tools are {}", names.join(", ")),
    )
}

impl ServerHandler for Server {
    fn get_info(&self) -> ServerConfig {
        let capabilities = ServerCapabilities::builder()
            .enable_tools()
            .enable_resources()
            .build();
        let name = Implementation::new(env!("CARGO_PKG_NAME"), env!("CARGO_PKG_VERSION"));
        ServerConfig::new(capabilities)
            .with_server_info(name.with_title("osquery live queries"))
            .with_instructions(include_str!("instructions.txt"))
    }

    async fn list_tools(
        &self,
        _: Option<PaginatedRequestParams>,
        _: RequestContext<RoleServer>,
    ) -> Result<ListToolsResult, ErrorData> {
        let tools = tools::ALL.iter().map(|tool| tool.listed(&self.policy));
        Ok(ListToolsResult::with_all_items(tools.collect())
            .with_ttl_ms(FRESH_MS)
            .with_cache_scope(CacheScope::Private))
    }

    async fn call_tool(
        &self,
        mut request: CallToolRequestParams,
        context: RequestContext<RoleServer>,
    ) -> Result<CallToolResponse, ErrorData> {
        let ticket = context.extensions.get::<Ticket>();
        let crowded = ticket.is_some_and(|ticket| ticket.others() >= MOST_AT_ONCE);
        let arguments = Value::Object(request.arguments.take().unwrap_or_default());
        let tool = tools::ALL.iter().find(|tool| tool.name == request.name);
        let answer = match tool {
            _ if crowded => Err(Refusal::busy(
                format!("{MOST_AT_ONCE} calls are under way already"),
                "wait for their answers, then call again",
            )),
            None => Err(unknown_tool(&Cow::clone(&request.name))),
            Some(tool) => {
                let call = Call::new(arguments, request, context);
                self.answer(tool, call).await
            }
        };
        Ok(answer.unwrap_or_else(|refusal| refusal.into_result().into()))
    }

    async fn list_resources(
        &self,
        request: Option<PaginatedRequestParams>,
        _: RequestContext<RoleServer>,
    ) -> Result<ListResourcesResult, ErrorData> {
        let cursor = request.and_then(|request| request.cursor);
        let page = resources::list(&self.policy, cursor.as_deref())?;
        Ok(page
            .with_ttl_ms(FRESH_MS)
            .with_cache_scope(CacheScope::Private))
    }

    async fn list_resource_templates(
        &self,
        _: Option<PaginatedRequestParams>,
        _: RequestContext<RoleServer>,
    ) -> Result<ListResourceTemplatesResult, ErrorData> {
        Ok(resources::templates()
            .with_ttl_ms(FRESH_MS)
            .with_cache_scope(CacheScope::Private))
    }

    async fn read_resource(
        &self,
        request: ReadResourceRequestParams,
        _: RequestContext<RoleServer>,
    ) -> Result<ReadResourceResponse, ErrorData> {
        let read = resources::read(&self.policy, &request.uri)?;
        Ok(read
            .with_ttl_ms(FRESH_MS)
            .with_cache_scope(CacheScope::Private)
            .into())
    }
}

/// What is left to do once calls are answered: campaigns are stopped, outcomes recorded. Clones are the same.
#[derive(Clone, Default)]
pub(super) struct Afterwards(Rc<RefCell<JoinSet<()>>>);

impl Afterwards {
    /// Has it done while other calls are served.
    pub(super) fn add(&self, work: impl Future<Output = ()> + 'static) {
        let mut works = self.0.borrow_mut();
        while works.try_join_next().is_some() {}
        works.spawn_local(work);
    }

    /// Waits until all is done; each bounds itself.
    pub(super) async fn finish(&self) {
        let mut works = self.0.take();
        while works.join_next().await.is_some() {}
    }
}
