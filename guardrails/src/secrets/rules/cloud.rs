//! The large clouds. Forms from AWS's "IAM identifiers", Google's "API keys" and "OAuth 2.0" pages, Microsoft's
//! published signatures of identifiable keys, and the others' pages on authentication.

use super::{Check, Edge, Rule, named, signed, token};

pub(super) const RULES: &[Rule] = &[
    Rule {
        check: Check::Entropy(2.8),
        ..token(
            "aws-access-key-id",
            &["AKIA", "ASIA", "ABIA", "ACCA"],
            r"(?:AKIA|ASIA|ABIA|ACCA)[A-Z2-7]{16}",
            &["aws_access_key_id = «AKIA{u16}»", "ASIA{u16}"],
            &["AKIAIOSFODNN7EXAMPLE", "AKIA{u12}", "akia{u16}", "XAKIA{u16}", "ASIAN MARKETS"],
        )
    },
    Rule {
        edge: Edge::Any,
        check: Check::Mixed(3.8),
        ..token(
            "aws-secret-access-key",
            &[
                "secret_access_key",
                "secretaccesskey",
                "secret access key",
                "aws_secret",
                "secret-access-key",
                "secretkey",
            ],
            r#"(?i)[a-z_ -]{9,30}\\?["']?\s{0,3}(?:[:=]|=>|:=|is)?\s{0,3}\\?["']?(?P<secret>[A-Za-z0-9/+]{40})"#,
            &[
                "aws_secret_access_key = «{s40}»",
                "\"SecretAccessKey\": \"«{s40}»\"",
                "my secret access key is «{s40}»",
            ],
            &["aws_secret_access_key = wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY", "secret_access_key: {b20}"],
        )
    },
    Rule {
        check: Check::Mixed(3.8),
        ..token(
            "aws-secret-access-key-pair",
            &["AKIA", "ASIA"],
            r"(?s)(?:AKIA|ASIA)[A-Z2-7]{16}[^A-Za-z0-9].{0,100}?[^A-Za-z0-9/+](?P<secret>[A-Za-z0-9/+]{40})(?:[^A-Za-z0-9/+=]|\z)",
            &["id AKIA{u16}, key «{s40}»\n"],
            &["commit AKIA{u16} {h40}"],
        )
    },
    // They begin with the name of the issuing service in base 64.
    token(
        "aws-session-token",
        &["IQoJb3JpZ2lu", "FwoGZXIvYXdz", "FQoGZXIvYXdz"],
        r"(?:IQoJb3JpZ2lu|F[wQ]oGZXIvYXdz)[A-Za-z0-9/+=]{100,}",
        &["AWS_SESSION_TOKEN=«IQoJb3JpZ2lu{s400}»"],
        &["IQoJb3JpZ2lu{s20}"],
    ),
    named(
        "aws-session-token-named",
        &["session_token", "sessiontoken", "security-token", "security_token"],
        "[A-Za-z0-9/+=]{100,}",
        &["aws_session_token = «{s200}»", "\"SessionToken\": \"«{s300}»\""],
        &["session_token: {uuid}"],
    ),
    token(
        "aws-bedrock-api-key",
        &["ABSK"],
        r"ABSK[A-Za-z0-9+/]{100,270}={0,2}",
        &["AWS_BEARER_TOKEN_BEDROCK=«ABSK{s128}»"],
        &["ABSK{s20}"],
    ),
    token(
        "aws-bedrock-short-term-key",
        &["bedrock-api-key-"],
        r"bedrock-api-key-[A-Za-z0-9+/=_-]{60,}",
        &["«bedrock-api-key-{b300}»"],
        &["bedrock-api-key-rotation-policy"],
    ),
    token("aws-appsync-key", &["da2-"], r"da2-[a-z0-9]{26}", &["x-api-key: «da2-{a26}»"], &["da2-{a9}"]),
    token(
        "amazon-client-secret",
        &["amzn1.oa2-cs.v1.", "amzn.mws."],
        r"amzn(?:1\.oa2-cs\.v1\.[0-9a-f]{64}|\.mws\.[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12})",
        &["amzn1.oa2-cs.v1.{h64}", "amzn.mws.{uuid}"],
        &["amzn1.application-oa2-client.{h32}"],
    ),
    token(
        "google-api-key",
        &["AIza"],
        r"AIza[A-Za-z0-9_-]{35}",
        &["?key=«AIza{w34}Q»&q=x"],
        &["AIzawa", "AIza{w12}"],
    ),
    token(
        "google-oauth-access-token",
        &["ya29."],
        r"ya29\.[A-Za-z0-9_-]{30,}",
        &["Authorization: Bearer «ya29.{w120}»"],
        &["ya29.{b8}"],
    ),
    token(
        "google-oauth-refresh-token",
        &["1//0"],
        r"1//0[A-Za-z0-9_-]{40,120}",
        &["\"refresh_token\": \"«1//0{w90}»\""],
        &["1//0 is no number"],
    ),
    token(
        "google-client-secret",
        &["GOCSPX-"],
        r"GOCSPX-[A-Za-z0-9_-]{28}",
        &["\"client_secret\":\"«GOCSPX-{w28}»\""],
        &["GOCSPX-{b9}"],
    ),
    signed(
        "firebase-server-key",
        &[":APA91b"],
        11,
        r"AAAA[A-Za-z0-9_-]{7}:APA91b[A-Za-z0-9_-]{120,150}",
        &["key=«AAAA{b7}:APA91b{w134}»"],
    ),
    named(
        "recaptcha-secret-key",
        &["recaptcha", "hcaptcha", "turnstile"],
        "(?:6L[A-Za-z0-9_-]{38}|ES_[0-9a-f]{32}|0x[0-9a-fA-F]{40}|0x4AAAA[A-Za-z0-9_-]{26,30})",
        &["RECAPTCHA_SECRET_KEY=«6L{w38}»", "hcaptcha_secret: «ES_{h32}»"],
        &["recaptcha_site_key=6L{w38}"],
    ),
    Rule {
        form: super::Form::Token(3),
        ..token(
            "azure-client-secret",
            &["0Q~", "1Q~", "2Q~", "3Q~", "4Q~", "5Q~", "6Q~", "7Q~", "8Q~", "9Q~"],
            r"[A-Za-z0-9_~.-]{3}[0-9]Q~[A-Za-z0-9_~.-]{31,34}",
            &["AZURE_CLIENT_SECRET=«{b3}8Q~{b34}»"],
            &["{b3}8Q~{b10}", "FAQ~like"],
        )
    },
    Rule {
        edge: Edge::Any,
        ..token(
            "azure-shared-key",
            &["AccountKey=", "SharedAccessKey="],
            r"(?i)(?:Account|SharedAccess)Key=(?P<secret>[A-Za-z0-9+/]{43}=|[A-Za-z0-9+/]{86}==)",
            &[
                "DefaultEndpointsProtocol=https;AccountName=x;AccountKey=«{s86}==»;EndpointSuffix=core.windows.net",
                "Endpoint=sb://x.servicebus.windows.net/;SharedAccessKeyName=all;SharedAccessKey=«{s43}=»",
            ],
            &["AccountKey={s12}", "SharedAccessKeyName=RootManageSharedAccessKey"],
        )
    },
    // A shared access signature: only its signature is secret, and only among its other parameters.
    Rule {
        edge: Edge::Any,
        near: &["sv=20", "se=20", "sr=b", "sr=c", "sp=r", "sr="],
        ..token(
            "azure-sas-signature",
            &["&sig=", "?sig="],
            r"(?i)[&?]sig=(?P<secret>[A-Za-z0-9%+/=_-]{43,80})",
            &["https://x.blob.core.windows.net/c/f?sv=2024-11-04&sr=b&sp=r&se=2026-01-01&sig=«{b42}%3D»"],
            &["https://x.test/?v=1&sig={b12}"],
        )
    },
    signed(
        "azure-storage-key",
        &["+ASt"],
        76,
        r"[A-Za-z0-9+/]{76}\+ASt[A-Za-z0-9+/]{6}==",
        &["«{s76}+ASt{s6}==»"],
    ),
    signed(
        "azure-cosmos-key",
        &["ACDb"],
        76,
        r"[A-Za-z0-9+/]{76}ACDb[A-Za-z0-9+/]{6}==",
        &["AccountEndpoint=x;«{s76}ACDb{s6}==»"],
    ),
    signed(
        "azure-batch-key",
        &["+ABa", "+AMC"],
        76,
        r"[A-Za-z0-9+/]{76}\+A(?:Ba|MC)[A-Za-z0-9+/]{6}==",
        &["key: «{s76}+ABa{s6}==»"],
    ),
    signed(
        "azure-search-key",
        &["AzSe"],
        42,
        "[A-Za-z0-9]{42}AzSe[A-D][A-Za-z0-9]{5}",
        &["api-key: «{b42}AzSeA{b5}»"],
    ),
    signed(
        "azure-function-key",
        &["AzFu"],
        44,
        "[A-Za-z0-9_-]{44}AzFu[A-Za-z0-9_-]{6}==",
        &["?code=«{b44}AzFu{b6}==»"],
    ),
    signed(
        "azure-redis-key",
        &["AzCa"],
        33,
        "[A-Za-z0-9]{33}AzCa[A-P][A-Za-z0-9]{5}=",
        &["ssl=True, «{b33}AzCaA{b5}=»"],
    ),
    signed(
        "azure-registry-key",
        &["+ACR"],
        42,
        r"[A-Za-z0-9+/]{42}\+ACR[A-D][A-Za-z0-9+/]{5}",
        &["docker «{b42}+ACRA{b5}»"],
    ),
    signed(
        "azure-bus-key",
        &["+ASb", "+AEh", "AIoT", "+ARm"],
        33,
        r"[A-Za-z0-9+/]{33}(?:\+ASb|\+AEh|AIoT|\+ARm)[A-P][A-Za-z0-9+/]{5}=",
        &["key «{b33}+ASbA{b5}=»", "key «{b33}AIoTA{b5}=»"],
    ),
    signed(
        "azure-devops-token",
        &["AZDO"],
        76,
        "[A-Za-z0-9]{76}AZDO[A-Za-z0-9]{4}",
        &["PAT: «{b76}AZDO{b4}»"],
    ),
    signed(
        "azure-ai-key",
        &["JQQJ99"],
        52,
        "[A-Za-z0-9]{52}JQQJ99[A-Za-z0-9]{26}",
        &["AZURE_OPENAI_API_KEY=«{b52}JQQJ99{b26}»"],
    ),
    named(
        "azure-devops-token-named",
        &["azure_devops", "azuredevops", "ado_pat", "ado_token", "vsts", "system_accesstoken"],
        "[a-z2-7]{52}",
        &["AZURE_DEVOPS_EXT_PAT=«{o52}»"],
        &["azure_devops_org: contoso-engineering-platform-team"],
    ),
    named(
        "azure-cognitive-key",
        &[
            "azure",
            "ocp-apim-subscription-key",
            "cognitive",
            "subscription-key",
            "subscription_key",
            "api-key",
            "speech",
        ],
        "[0-9a-f]{32}",
        &["Ocp-Apim-Subscription-Key: «{h32}»", "AZURE_OPENAI_API_KEY=«{h32}»", "-H 'api-key: «{h32}»'"],
        &["azure_key_vault_etag={h32}", "azure trace {h32}"],
    ),
    token("alibaba-access-key-id", &["LTAI"], "LTAI[A-Za-z0-9]{16,20}", &["LTAI{b20}"], &["LTAI{b6}"]),
    named(
        "alibaba-secret-key",
        &["alibaba", "aliyun", "alicloud", "accesskeysecret", "access_key_secret"],
        "[A-Za-z0-9]{30}",
        &["ALIBABA_CLOUD_ACCESS_KEY_SECRET=«{b30}»"],
        &["aliyun_region_key: cn-hangzhou-zone-1"],
    ),
    token("tencent-secret-id", &["AKID"], "AKID[A-Za-z0-9]{32}", &["AKID{b32}"], &["AKID{b9}"]),
    named(
        "tencent-or-huawei-secret-key",
        &["tencent", "huaweicloud", "huawei_cloud", "hw_secret"],
        "[A-Za-z0-9]{32,40}",
        &["TENCENTCLOUD_SECRET_KEY=«{b32}»"],
        &["tencent_region_key=ap-guangzhou"],
    ),
    named(
        "ibm-cloud-api-key",
        &["ibmcloud", "ibm_cloud", "ibm-cloud", "bluemix", "watson"],
        "[A-Za-z0-9_-]{44}",
        &["IBMCLOUD_API_KEY=«{b44}»", "WATSONX_APIKEY: «{w43}a»"],
        &["ibm_cloud_key_name=primary"],
    ),
    token(
        "yandex-token",
        &["AQVN", "y0_A", "y1_A", "y2_A", "y3_A"],
        r"(?:AQVN[A-Za-z0-9_-]{35,38}|y[0-3]_A[A-Za-z0-9_-]{50,60})",
        &["Api-Key «AQVN{b36}»", "OAuth «y0_A{w54}»"],
        &["AQVN{b5}"],
    ),
];
