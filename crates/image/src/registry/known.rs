//! Companions of public registries: where they are reached, and the hosts that serve their tokens and blobs.
//! An entry takes effect only for a registry that the configuration lists, and only beside what it lists
//! itself; credentials go to the registry and its token service alone.

/// One public registry.
pub(super) struct Known {
    pub(super) host: &'static str,
    pub(super) endpoint: Option<&'static str>,
    pub(super) token_hosts: &'static [&'static str],
    pub(super) redirect_hosts: &'static [&'static str],
}

const KNOWN: &[Known] = &[
    Known {
        host: "docker.io",
        endpoint: Some("registry-1.docker.io"),
        token_hosts: &["auth.docker.io"],
        redirect_hosts: &[
            "production.cloudflare.docker.com",
            "production.cloudfront.docker.com",
            "docker-images-prod.6aa30f8b08e16409b46e0173d6de2f56.r2.cloudflarestorage.com",
        ],
    },
    Known {
        host: "ghcr.io",
        endpoint: None,
        token_hosts: &[],
        redirect_hosts: &["pkg-containers.githubusercontent.com"],
    },
    Known {
        host: "quay.io",
        endpoint: None,
        token_hosts: &[],
        redirect_hosts: &["*.quay.io", "quayio-production-s3.s3.amazonaws.com"],
    },
    Known {
        host: "registry.k8s.io",
        endpoint: None,
        token_hosts: &[],
        redirect_hosts: &["*.pkg.dev", "storage.googleapis.com"],
    },
    Known { host: "gcr.io", endpoint: None, token_hosts: &[], redirect_hosts: &["storage.googleapis.com"] },
    Known {
        host: "mcr.microsoft.com",
        endpoint: None,
        token_hosts: &[],
        redirect_hosts: &["*.data.mcr.microsoft.com"],
    },
    Known {
        host: "public.ecr.aws",
        endpoint: None,
        token_hosts: &[],
        redirect_hosts: &["d2glxqk2uabbnd.cloudfront.net", "d5l0dvt14r5h8.cloudfront.net"],
    },
    Known {
        host: "registry.gitlab.com",
        endpoint: None,
        token_hosts: &["gitlab.com"],
        redirect_hosts: &["storage.googleapis.com", "cdn.registry.gitlab-static.net"],
    },
    Known {
        host: "registry.access.redhat.com",
        endpoint: None,
        token_hosts: &[],
        redirect_hosts: &["*.quay.io"],
    },
];

/// The companions of a registry, if it is a known one.
pub(super) fn known(host: &str) -> Option<&'static Known> {
    KNOWN.iter().find(|known| known.host == host)
}
