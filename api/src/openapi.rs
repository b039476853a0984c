//! The OpenAPI document, made from the handlers and types themselves, and the viewer that comes with the program.

use std::sync::Arc;

use axum::Router;
use axum::extract::Path;
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Redirect, Response};
use axum::routing::get;
use utoipa::OpenApi;
use utoipa::openapi::path::Operation;
use utoipa::openapi::{
    ContentBuilder, OpenApi as Document, Ref, RefOr, Response as Answer, ResponseBuilder,
};
use utoipa_swagger_ui::Config as Viewer;

use crate::guard::CSP_VIEWER;
use crate::problem::{Document as Problem, Problem as Refusal, WrongParameter};

/// Where the document is.
pub(crate) const PATH: &str = "/api/openapi.json";

#[derive(OpenApi)]
#[openapi(
    info(
        title = "Forewarn",
        description = "What is unusual, what will fail and when, and what was told to whom. Alerts can be acknowledged \
                       and resolved; all else is for reading. There is no sign-in: reachable from its own machine only, \
                       unless configured otherwise.\n\n\
                       Instants are RFC 3339 in UTC, durations seconds. Lists are pages: follow `next`, given as \
                       `cursor`, until it is null. Unknown parameters are refused. Errors are \
                       `application/problem+json` with a `type` that does not change, and a `remedy`.",
        license(name = "MIT", identifier = "MIT"),
    ),
    tags(
        (name = "health", description = "How everything is doing, in one look."),
        (name = "resources", description = "What is watched, and its measurements."),
        (name = "anomalies", description = "Steps that were unlike the past."),
        (name = "predictions", description = "Failures that are or were expected, and how good the predictions are."),
        (name = "alerts", description = "What needs or needed attention, and who was told."),
        (name = "models", description = "What was trained, and what judges."),
    ),
    components(schemas(Problem, WrongParameter)),
)]
struct Base;

/// The document before the endpoints add themselves.
pub(crate) fn base() -> Document {
    Base::openapi()
}

/// Adds to every endpoint how it can fail, which is the same for all.
pub(crate) fn finished(mut document: Document) -> Document {
    for (path, item) in &mut document.paths.paths {
        if let Some(operation) = &mut item.get {
            add(
                operation,
                "400",
                "A parameter is not understood; all that are wrong are named.",
            );
            if path.contains('{') {
                add(operation, "404", "There is no such thing.");
            }
            add(
                operation,
                "503",
                "PostgreSQL or the metric store does not answer, or not in time, or too much is asked at once; `Retry-After` says when to ask again.",
            );
        }
        if let Some(operation) = &mut item.post {
            add(
                operation,
                "400",
                "The body or a parameter is not understood.",
            );
            add(
                operation,
                "403",
                "A browser sent it on behalf of a foreign page.",
            );
            add(operation, "404", "There is no such thing.");
            add(
                operation,
                "409",
                "It cannot be done to this alert any more, or the command's id is another command's.",
            );
            add(operation, "413", "The body is too long.");
            add(
                operation,
                "503",
                "The log does not take the command now; `Retry-After` says when to send it again.",
            );
        }
    }
    document
}

fn add(operation: &mut Operation, status: &str, description: &str) {
    let problem = ContentBuilder::new()
        .schema(Some(RefOr::Ref(Ref::from_schema_name("Problem"))))
        .build();
    let answer: Answer = ResponseBuilder::new()
        .description(description)
        .content("application/problem+json", problem)
        .build();
    operation
        .responses
        .responses
        .entry(status.to_owned())
        .or_insert(RefOr::T(answer));
}

/// The document and its viewer.
pub(crate) fn router(document: Document) -> Router {
    // Kept as text: it never changes while the program runs.
    let text: Arc<str> = finished(document).to_json().unwrap_or_default().into();
    let viewer = Arc::new(
        Viewer::from(PATH)
            .display_request_duration(true)
            .try_it_out_enabled(true)
            .default_models_expand_depth(-1),
    );
    let json = [(header::CONTENT_TYPE, "application/json")];
    Router::new()
        .route(PATH, get(async move || (json, text.to_string())))
        // Its files are beside it, so the slash counts.
        .route("/api/docs", get(async || Redirect::permanent("/api/docs/")))
        .route(
            "/api/docs/",
            get({
                let viewer = Arc::clone(&viewer);
                async move || file("index.html", viewer)
            }),
        )
        .route(
            "/api/docs/{file}",
            get(async move |Path(name): Path<String>| file(&name, viewer)),
        )
}

fn file(name: &str, viewer: Arc<Viewer<'static>>) -> Response {
    match utoipa_swagger_ui::serve(name, viewer) {
        Ok(Some(file)) => {
            let headers = [
                (header::CONTENT_TYPE, file.content_type),
                (header::CONTENT_SECURITY_POLICY, CSP_VIEWER.to_owned()),
            ];
            (StatusCode::OK, headers, file.bytes.into_owned()).into_response()
        }
        Ok(None) => {
            Refusal::not_found("the viewer has no such file", "see /api/docs/").into_response()
        }
        Err(error) => Refusal::internal(&format!("the viewer: {error}")).into_response(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use expect_test::expect;

    #[test]
    fn the_document_lists_what_there_is() {
        let document = finished(crate::app::endpoints().into_openapi());
        let lines: Vec<String> = document
            .paths
            .paths
            .iter()
            .map(|(path, item)| {
                let (method, operation) = match (&item.get, &item.post) {
                    (Some(get), None) => ("", get),
                    (None, Some(post)) => ("POST ", post),
                    _ => panic!("{path} is asked for in one way"),
                };
                let parameters = operation.parameters.iter().flatten();
                let names: Vec<_> = parameters
                    .map(|parameter| match parameter {
                        RefOr::T(parameter) => parameter.name.as_str(),
                        RefOr::Ref(_) => panic!("parameters are written out"),
                    })
                    .collect();
                format!("{method}{path} {}\n", names.join(" "))
            })
            .collect();
        expect![[r#"
            /api/v1/alerts resource kind state severity rule since until tenant limit cursor
            /api/v1/alerts/{alert_id} alert_id
            POST /api/v1/alerts/{alert_id}/acknowledge alert_id
            /api/v1/alerts/{alert_id}/deliveries alert_id limit cursor
            /api/v1/alerts/{alert_id}/history alert_id limit cursor
            POST /api/v1/alerts/{alert_id}/resolve alert_id
            /api/v1/anomalies resource kind metric level severity min_score since until tenant limit cursor
            /api/v1/anomalies/{anomaly_id} anomaly_id
            /api/v1/commands/{command_id} command_id
            /api/v1/health limit tenant
            /api/v1/models resource feature_set tenant limit cursor
            /api/v1/models/activations resource feature_set tenant limit cursor
            /api/v1/models/runs resource feature_set model state since until tenant limit cursor
            /api/v1/models/runs/{run_id} run_id
            /api/v1/prediction-quality tenant
            /api/v1/predictions resource kind failure state since until tenant limit cursor
            /api/v1/predictions/{prediction_id} prediction_id
            /api/v1/resources resource kind state tenant limit cursor
            /api/v1/resources/{resource} resource tenant
            /api/v1/resources/{resource}/series resource data since tenant limit cursor
            /api/v1/series resource metric data tag since until step aggregate tenant
        "#]].assert_eq(&lines.concat());
    }

    #[test]
    fn everything_in_the_document_is_described() {
        let document = finished(crate::app::endpoints().into_openapi());
        let text = document.to_json().expect("a document");
        let value: serde_json::Value = serde_json::from_str(&text).expect("JSON");
        assert_eq!(value["openapi"], "3.1.0");
        let mut undescribed = Vec::new();
        for (name, schema) in value["components"]["schemas"].as_object().expect("schemas") {
            for (field, schema) in schema["properties"].as_object().into_iter().flatten() {
                // Of what may be null, the other choice is described.
                let told = |schema: &serde_json::Value| {
                    schema["description"]
                        .as_str()
                        .is_some_and(|text| !text.is_empty())
                };
                let choices = schema["oneOf"].as_array().into_iter().flatten();
                if !told(schema) && !choices.into_iter().any(told) {
                    undescribed.push(format!("{name}.{field}"));
                }
            }
        }
        for (path, item) in value["paths"].as_object().expect("paths") {
            let operation = if item["get"].is_object() {
                &item["get"]
            } else {
                &item["post"]
            };
            for field in ["summary", "operationId"] {
                if operation[field].as_str().is_none_or(str::is_empty) {
                    undescribed.push(format!("{path} {field}"));
                }
            }
            for parameter in operation["parameters"].as_array().into_iter().flatten() {
                if parameter["description"].as_str().is_none_or(str::is_empty) {
                    undescribed.push(format!("{path}?{}", parameter["name"]));
                }
            }
        }
        assert_eq!(undescribed, Vec::<String>::new());
    }

    #[test]
    fn the_viewer_comes_with_the_program() {
        let viewer = Arc::new(Viewer::from(PATH));
        for name in ["index.html", "swagger-ui-bundle.js", "swagger-ui.css"] {
            assert_eq!(
                file(name, Arc::clone(&viewer)).status(),
                StatusCode::OK,
                "{name}"
            );
        }
        let found = utoipa_swagger_ui::serve("index.html", Arc::clone(&viewer));
        let found = found.expect("readable").expect("there").bytes.into_owned();
        let page = String::from_utf8(found).expect("text");
        assert!(
            !page.contains("http"),
            "nothing comes from elsewhere: {page}"
        );
        assert_eq!(
            file("../Cargo.toml", viewer).status(),
            StatusCode::NOT_FOUND
        );
    }
}
