//! The whole system on real servers: exactness under kill -9, replicas, real faults on this host.
