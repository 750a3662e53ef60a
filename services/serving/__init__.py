"""What every gRPC process shares: server, interceptor, data plane, errors, settings."""
