//! Client and server of the service, without a schema compiler to install.

use tonic_build::manual::{Builder, Method, Service};

fn main() {
    let method = |name: &str, route: &str| {
        Method::builder()
            .name(name)
            .route_name(route)
            .input_type("crate::Payload")
            .output_type("crate::Payload")
            .codec_path("tonic_prost::ProstCodec")
    };
    let works = Service::builder()
        .name("Works")
        .package("bench")
        .method(method("ask", "Ask").build())
        .method(method("tell", "Tell").client_streaming().build())
        .build();
    Builder::new().compile(&[works]);
}
