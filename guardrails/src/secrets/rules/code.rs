//! Code hosts, package registries and continuous integration. Forms from GitHub's "Behind GitHub's new authentication
//! token formats" and npm's "New access token format", GitLab's "Token overview", PyPI's and the others' help pages.

use super::{Check, Edge, Rule, check, named, token};

pub(super) const RULES: &[Rule] = &[
    Rule {
        check: Check::Custom(check::github),
        ..token(
            "github-token",
            &["ghp_", "gho_", "ghu_", "ghs_", "ghr_"],
            "gh[pousr]_[A-Za-z0-9]{36}",
            &["https://x:«ghp_{github}»@github.com/a/b", "gho_{github}", "ghs_{github}"],
            &["ghp_{b20}", "ghp_xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx", "ghp_{b36}{b4}"],
        )
    },
    token(
        "github-fine-grained-token",
        &["github_pat_"],
        "github_pat_[A-Za-z0-9]{22}_[A-Za-z0-9]{59}",
        &["github_pat_{b22}_{b59}"],
        &["github_pat_{b22}", "github_pat_your_token"],
    ),
    // GitHub's refresh tokens are longer than its others.
    Rule {
        check: Check::Custom(check::github),
        ..token("github-refresh-token", &["ghr_"], "ghr_[A-Za-z0-9]{76}", &["ghr_{b76}"], &["ghr_{b50}"])
    },
    token(
        "gitlab-token",
        &[
            "glpat-", "gldt-", "glrt-", "glrtr-", "glptt-", "glft-", "glimt-", "glsoat-", "gloas-",
            "glagent-", "glffct-", "glwt-", "glcbt-",
        ],
        "gl(?:pat|dt|rt|rtr|ptt|ft|imt|soat|oas|agent|ffct|wt|cbt)-(?:[0-9a-zA-Z]{1,5}_)?[A-Za-z0-9_-]{20,64}(?:[.][a-z0-9.]{8,24})?",
        &["PRIVATE-TOKEN: «glpat-{b20}»", "glrt-{b20}", "glcbt-64_{b20}", "glagent-{w50}", "gloas-{h64}"],
        &["glpat-{b8}", "glpat-xxxxxxxxxxxxxxxxxxxx"],
    ),
    token(
        "gitlab-runner-registration",
        &["GR1348941"],
        "GR1348941[A-Za-z0-9_-]{20}",
        &["--registration-token «GR1348941{b20}»"],
        &["GR1348941{b5}"],
    ),
    token(
        "bitbucket-app-password",
        &["ATBB"],
        "ATBB[A-Za-z0-9]{24,32}(?:[0-9A-F]{8})?",
        &["https://me:«ATBB{b24}{H8}»@bitbucket.org/a/b"],
        &["ATBB{b6}"],
    ),
    token(
        "bitbucket-or-atlassian-token",
        &["ATCTT3", "ATATT3", "ATSTT3"],
        "AT[CAS]TT3[A-Za-z0-9_=-]{100,250}",
        &["JIRA_API_TOKEN=«ATATT3{w176}={H8}»", "ATCTT3{w180}"],
        &["ATATT3{b10}"],
    ),
    named(
        "atlassian-token-named",
        &["atlassian", "jira", "confluence", "bitbucket"],
        "[A-Za-z0-9]{24}|[A-Za-z0-9_=-]{32,64}",
        &["JIRA_API_TOKEN=«{b24}»", "bitbucket_client_secret: '«{b32}»'"],
        &["jira_key_pattern: PROJ-1234", "confluence_space_key=ENGINEERING"],
    ),
    Rule {
        check: Check::Custom(check::github),
        ..token(
            "npm-token",
            &["npm_"],
            "npm_[A-Za-z0-9]{36}",
            &["_authToken=«npm_{github}»", "npm_{b36}"],
            &["npm_config_registry", "npm_{b12}", "npm_config_user_agent_and_registry_scope_x"],
        )
    },
    Rule {
        edge: Edge::Any,
        check: Check::Value,
        ..token(
            "npmrc-credential",
            &[":_authToken", ":_password", ":_auth", "_authToken=", "_auth="],
            r"(?i):?(?:_authToken|_password|_auth)\s?=\s?\x22?(?P<secret>[A-Za-z0-9+/=_.:-]{12,})",
            &["//registry.example.org/:_authToken=«{uuid}»", "//npm.corp.test/:_password=«{b24}==»"],
            &["//registry.npmjs.org/:_authToken=${NPM_TOKEN}", "db_password = get_password()"],
        )
    },
    token(
        "pypi-token",
        &["pypi-AgEIcHlwaS5vcmc", "pypi-AgENdGVzdC5weXBpLm9yZw"],
        "pypi-AgE[A-Za-z0-9_-]{50,}",
        &["password = «pypi-AgEIcHlwaS5vcmc{b80}»"],
        &["pypi-AgEIcHlwaS5vcmc"],
    ),
    token(
        "rubygems-key",
        &["rubygems_"],
        "rubygems_[0-9a-f]{48}",
        &["rubygems_{h48}"],
        &["rubygems_version"],
    ),
    token(
        "crates-io-token",
        &["cio"],
        "cio[A-Za-z0-9]{32}",
        &["cargo login «cio{b32}»"],
        &["cio{b9}", "ciolithographically"],
    ),
    token("nuget-key", &["oy2"], "oy2[a-z0-9]{43}", &["nuget push -ApiKey «oy2{a43}»"], &["oy2{a9}"]),
    token(
        "docker-hub-token",
        &["dckr_pat_", "dckr_oat_"],
        "dckr_[po]at_[A-Za-z0-9_-]{27,40}",
        &["docker login -p «dckr_pat_{w27}»", "dckr_oat_{b32}"],
        &["dckr_pat_your_token"],
    ),
    Rule {
        check: Check::Custom(check::basic),
        ..named(
            "docker-config-auth",
            &["auth"],
            "[A-Za-z0-9+/]{12,200}={0,2}",
            &["\"auths\":{\"ghcr.io\":{\"auth\":\"«{basic}»\"}}", "_auth=\"«{basic}»\""],
            &["\"auth\": \"none\"", "\"author\": \"{b24}\""],
        )
    },
    token(
        "artifactory-key",
        &["AKCp"],
        "AKCp[A-Za-z0-9]{69}",
        &["X-JFrog-Art-Api: «AKCp{b69}»"],
        &["AKCp{b9}"],
    ),
    token(
        "artifactory-reference-token",
        &["cmVmdGtuOj"],
        "cmVmdGtuOj[A-Za-z0-9]{54}",
        &["«cmVmdGtuOj{b54}»"],
        &["cmVmdGtuOj{b4}"],
    ),
    token(
        "sonar-token",
        &["sqp_", "squ_", "sqa_"],
        "sq[pua]_[0-9a-f]{40}",
        &["-Dsonar.token=«sqp_{h40}»"],
        &["squ_{h6}"],
    ),
    named(
        "sonar-token-named",
        &["sonar_token", "sonarqube", "sonar.login", "sonarcloud"],
        "[0-9a-f]{40}",
        &["SONAR_TOKEN=«{h40}»", "sonar.login=«{h40}»"],
        &["sonarqube_commit: {h40}"],
    ),
    token(
        "buildkite-token",
        &["bkua_", "bkpt_", "bkct_"],
        "bk(?:ua|pt|ct)_[A-Za-z0-9]{40,60}",
        &["BUILDKITE_API_TOKEN=«bkua_{h40}»"],
        &["bkua_{h9}"],
    ),
    token(
        "circleci-token",
        &["CCIPAT_", "CCIPRJ_"],
        "CCIP(?:AT|RJ)_[A-Za-z0-9]{18,30}_[0-9a-f]{40}",
        &["Circle-Token: «CCIPAT_{b22}_{h40}»"],
        &["CCIPAT_{b22}"],
    ),
    named(
        "ci-token",
        &["circleci", "circle_token", "circle-token", "drone_token", "codecov", "coveralls", "snyk"],
        "[0-9a-f]{40}|[A-Za-z0-9]{32}|[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}",
        &["CIRCLECI_TOKEN=«{h40}»", "CODECOV_TOKEN=«{uuid}»", "SNYK_TOKEN=«{uuid}»"],
        &["circleci_sha: {h40}", "codecov commit {h40}"],
    ),
    named(
        "travis-token",
        &["travis"],
        "[A-Za-z0-9_-]{20,22}",
        &["TRAVIS_API_TOKEN=«{b22}»"],
        &["travis_key_name=deploy"],
    ),
    named(
        "jenkins-token",
        &["jenkins"],
        "(?:11[0-9a-f]{32}|[0-9a-f]{32})",
        &["JENKINS_API_TOKEN=«11{h32}»"],
        &["jenkins_build_hash={h32}"],
    ),
    token(
        "jenkins-encrypted-secret",
        &["{AQAAABAAAAA"],
        "[{]AQAAABAAAAA[A-Za-z0-9+/=]{20,200}[}]",
        &["<password>«{open}AQAAABAAAAA{s60}={close}»</password>"],
        &["{open}AQAAABAAAAA{close}"],
    ),
    token(
        "sourcegraph-token",
        &["sgp_"],
        "sgp_(?:[0-9a-f]{16}_|local_)?[0-9a-f]{40}",
        &["sgp_{h16}_{h40}", "sgp_{h40}"],
        &["sgp_{h9}"],
    ),
    token(
        "postman-key",
        &["PMAK-", "PMAT-"],
        "(?:PMAK-[0-9a-f]{24}-[0-9a-f]{34}|PMAT-[A-Z0-9]{26})",
        &["X-Api-Key: «PMAK-{h24}-{h34}»", "PMAT-{A26}"],
        &["PMAK-{h9}"],
    ),
    token(
        "readme-or-scalingo-key",
        &["rdme_", "tk-us-"],
        "(?:rdme_[a-z0-9]{70}|tk-us-[A-Za-z0-9_-]{48})",
        &["rdme_{a70}", "tk-us-{w48}"],
        &["rdme_{a7}"],
    ),
    token(
        "prefect-key",
        &["pnu_", "pnb_"],
        "pn[ub]_[A-Za-z0-9]{36}",
        &["PREFECT_API_KEY=«pnu_{b36}»"],
        &["pnu_{b9}"],
    ),
    token(
        "nx-or-expo-token",
        &["nxp_", "exp_"],
        "(?:nxp|exp)_[A-Za-z0-9]{40}",
        &["nxp_{b40}"],
        &["exp_moving_average"],
    ),
    token("unkey-or-clerk-key", &["unkey_"], "unkey_[A-Za-z0-9]{20,40}", &["unkey_{b24}"], &["unkey_docs"]),
    token(
        "cursor-or-sweep-key",
        &["crsr_", "key_"],
        "(?:crsr_|key_)[0-9a-f]{64}",
        &["crsr_{h64}", "CURSOR_API_KEY=«key_{h64}»"],
        &["key_{h20}", "primary_key_{h9}"],
    ),
];
