//! What keeps other people's pages away from this one: no method that changes anything, no foreign name or origin, and a
//! policy under which nothing runs that this node does not serve.

use std::{net::IpAddr, sync::Arc};

use axum::{
    extract::{Request, State},
    http::{HeaderMap, HeaderName, HeaderValue, Method, StatusCode, Uri, header},
    middleware::Next,
    response::{IntoResponse, Response},
};

/// Nothing but what the page needs: its own scripts and styles, its own answers, wallets' icons, video from memory. Strings
/// cannot become scripts even by mistake: the page has no trusted types.
const CONTENT_POLICY: &str = "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; \
     img-src 'self' data:; media-src 'self' blob:; form-action 'none'; base-uri 'none'; frame-ancestors 'none'; \
     require-trusted-types-for 'script'; trusted-types 'none'";

const HEADERS: [(HeaderName, HeaderValue); 7] = [
    (header::CONTENT_SECURITY_POLICY, HeaderValue::from_static(CONTENT_POLICY)),
    (header::X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff")),
    (header::X_FRAME_OPTIONS, HeaderValue::from_static("DENY")),
    (header::REFERRER_POLICY, HeaderValue::from_static("no-referrer")),
    (
        HeaderName::from_static("permissions-policy"),
        HeaderValue::from_static("camera=(), microphone=(), geolocation=()"),
    ),
    (HeaderName::from_static("cross-origin-resource-policy"), HeaderValue::from_static("same-origin")),
    (HeaderName::from_static("cross-origin-opener-policy"), HeaderValue::from_static("same-origin")),
];

/// Names under which the server may be asked for, beside addresses and names of this machine or network.
#[derive(Debug, Clone, Default)]
pub struct Hosts(Arc<[String]>);

impl Hosts {
    /// Names as a browser writes them, without a port.
    pub fn new(names: &[String]) -> Self {
        Self(names.iter().map(|name| name.to_ascii_lowercase()).collect())
    }

    /// Whether a request to `host`, with or without a port, was meant for this server.
    ///
    /// A page can have its own name resolved to this machine and then read what is served here. It can do so neither with a
    /// literal address nor with a name without a dot, which no public server answers for.
    fn admit(&self, host: &str) -> bool {
        let Some(name) = name_of(host) else { return false };
        let name = name.trim_end_matches('.').to_ascii_lowercase();
        let is_address = name.trim_start_matches('[').trim_end_matches(']').parse::<IpAddr>().is_ok();
        is_address
            || !name.is_empty() && !name.contains('.')
            || name.ends_with(".localhost")
            || self.0.contains(&name)
    }
}

/// The host of `host[:port]`.
fn name_of(host: &str) -> Option<&str> {
    let name = match host.strip_prefix('[') {
        Some(rest) => &host[..rest.find(']')? + 2],
        None => host.split(':').next()?,
    };
    let port = &host[name.len()..];
    let is_port = |port: &str| {
        port.is_empty() || port.strip_prefix(':').is_some_and(|digits| digits.parse::<u16>().is_ok())
    };
    is_port(port).then_some(name)
}

/// Lets through what only reads and comes from this page, from a program, or from nowhere in particular; puts the policy on
/// every answer.
pub(crate) async fn guard(State(hosts): State<Hosts>, request: Request, next: Next) -> Response {
    let refused = refusal(&hosts, request.method(), request.uri(), request.headers());
    let response = match refused {
        Some((status, why)) => (status, format!("{why}\n")).into_response(),
        None => next.run(request).await,
    };
    protect(response).await
}

/// Puts the policy on an answer.
pub(crate) async fn protect(mut response: Response) -> Response {
    let headers = response.headers_mut();
    headers.extend(HEADERS);
    headers.entry(header::CACHE_CONTROL).or_insert(HeaderValue::from_static("no-store"));
    response
}

fn refusal(
    hosts: &Hosts,
    method: &Method,
    uri: &Uri,
    headers: &HeaderMap,
) -> Option<(StatusCode, &'static str)> {
    if !matches!(*method, Method::GET | Method::HEAD) {
        return Some((StatusCode::METHOD_NOT_ALLOWED, "nothing here changes anything; use GET"));
    }
    let text = |name: HeaderName| headers.get(name).map(|value| value.to_str().unwrap_or_default());
    let host = uri.authority().map(|authority| authority.as_str()).or(text(header::HOST)).unwrap_or_default();
    if !hosts.admit(host) {
        return Some((
            StatusCode::MISDIRECTED_REQUEST,
            "this name is not known here; use an address, or list the name in http.hosts",
        ));
    }
    let own = |origin: &str| {
        origin.strip_prefix("http://").or(origin.strip_prefix("https://")).is_some_and(|rest| rest == host)
    };
    let foreign = text(header::ORIGIN).is_some_and(|origin| !own(origin));
    let site = text(HeaderName::from_static("sec-fetch-site")).unwrap_or("none");
    // A link on another site may lead here; its scripts, images and frames may not.
    let follows = text(HeaderName::from_static("sec-fetch-mode")) == Some("navigate")
        && text(HeaderName::from_static("sec-fetch-dest")) == Some("document");
    if foreign || !(matches!(site, "same-origin" | "none") || follows) {
        return Some((StatusCode::FORBIDDEN, "pages of other origins may not read this"));
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    fn asked(host: &str, more: &[(&'static str, &str)]) -> Option<StatusCode> {
        let mut headers = HeaderMap::new();
        headers.insert(header::HOST, host.parse().unwrap());
        for (name, value) in more {
            headers.insert(*name, value.parse().unwrap());
        }
        let hosts = Hosts::new(&["Dash.example.net".to_owned()]);
        refusal(&hosts, &Method::GET, &Uri::from_static("/api/board"), &headers).map(|(status, _)| status)
    }

    #[test]
    fn names_that_a_stranger_could_point_here_are_refused() {
        for host in
            ["evil.example", "evil.example:80", "127.0.0.1.evil.example", "localhost.evil.example", "", ":80"]
        {
            assert_eq!(asked(host, &[]), Some(StatusCode::MISDIRECTED_REQUEST), "{host}");
        }
        for host in
            ["[::1", "[::1]x", "[::1]:x", "127.0.0.1:port", "127.0.0.1:80:80", "evil.example#localhost"]
        {
            assert_eq!(asked(host, &[]), Some(StatusCode::MISDIRECTED_REQUEST), "{host}");
        }
    }

    #[test]
    fn addresses_names_of_this_network_and_listed_names_are_admitted() {
        for host in [
            "127.0.0.1:7935",
            "10.0.0.3",
            "[::1]:80",
            "[::1]",
            "localhost",
            "LOCALHOST:1",
            "broadcaster:7935",
        ] {
            assert_eq!(asked(host, &[]), None, "{host}");
        }
        for host in ["dash.localhost", "dash.example.net", "DASH.EXAMPLE.NET.:443"] {
            assert_eq!(asked(host, &[]), None, "{host}");
        }
    }

    #[test]
    fn pages_of_other_origins_are_refused() {
        let host = "127.0.0.1:7935";
        for origin in [
            "https://evil.example",
            "null",
            "http://127.0.0.1:1",
            "http://127.0.0.1",
            "127.0.0.1:7935",
            "ftp://127.0.0.1:7935",
        ] {
            assert_eq!(asked(host, &[("origin", origin)]), Some(StatusCode::FORBIDDEN), "{origin}");
        }
        for origin in ["http://127.0.0.1:7935", "https://127.0.0.1:7935"] {
            assert_eq!(asked(host, &[("origin", origin)]), None, "{origin}");
        }
    }

    #[test]
    fn other_sites_may_link_here_and_no_more() {
        let site = ("sec-fetch-site", "cross-site");
        for more in [
            &[site][..],
            &[site, ("sec-fetch-mode", "no-cors"), ("sec-fetch-dest", "image")],
            &[site, ("sec-fetch-mode", "navigate"), ("sec-fetch-dest", "iframe")],
            &[("sec-fetch-site", "same-site")],
        ] {
            assert_eq!(asked("127.0.0.1", more), Some(StatusCode::FORBIDDEN), "{more:?}");
        }
        let link = [site, ("sec-fetch-mode", "navigate"), ("sec-fetch-dest", "document")];
        assert_eq!(asked("127.0.0.1", &link), None);
        assert_eq!(asked("127.0.0.1", &[("sec-fetch-site", "same-origin")]), None);
    }

    #[test]
    fn no_method_changes_anything() {
        let mut headers = HeaderMap::new();
        headers.insert(header::HOST, HeaderValue::from_static("localhost"));
        for method in [Method::POST, Method::PUT, Method::PATCH, Method::DELETE, Method::OPTIONS] {
            let found = refusal(&Hosts::default(), &method, &Uri::from_static("/"), &headers);
            assert_eq!(found.map(|(status, _)| status), Some(StatusCode::METHOD_NOT_ALLOWED), "{method}");
        }
    }
}
