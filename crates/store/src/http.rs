//! HTTP clients as every service builds them: TLS by rustls on ring, no redirects, no proxies from the environment.

use std::sync::Once;
use std::time::Duration;

/// Redirects are refused (a store or a receiver that moved is a matter for the settings), and so are proxies that only
/// the environment names: what a service talks to is what its settings say.
pub fn client(timeout: Duration) -> reqwest::ClientBuilder {
    static PROVIDER: Once = Once::new();
    PROVIDER.call_once(|| {
        // Fails only if the process has chosen one before, which is then as good.
        let _ = rustls::crypto::ring::default_provider().install_default();
    });
    reqwest::Client::builder()
        .redirect(reqwest::redirect::Policy::none())
        .no_proxy()
        .connect_timeout(timeout.min(Duration::from_secs(5)))
        .timeout(timeout)
        .pool_idle_timeout(Duration::from_secs(60))
        .user_agent(concat!("forewarn/", env!("CARGO_PKG_VERSION")))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_client_can_be_built_more_than_once() {
        for _ in 0..2 {
            assert!(client(Duration::from_secs(1)).build().is_ok());
        }
    }
}
