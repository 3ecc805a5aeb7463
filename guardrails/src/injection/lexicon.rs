//! Words of attacks by what they do in a sentence, in English, German, French, Spanish, Italian and Portuguese.
//!
//! Small letters without accents, as texts are read here. A word ends where it ends here, unless a `*` follows.

/// What a word does in a sentence; each is a bit of a set.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub(super) enum Role {
    /// Not to heed: ignore, forget.
    Ignore,
    /// Not to follow any more.
    Unfollow,
    /// All, any, your, these.
    Which,
    /// Previous, above.
    Prior,
    /// Instructions, rules.
    Rules,
    /// Anything that was said.
    Said,
    /// The system prompt.
    Prompt,
    /// Repeat, print, reveal.
    Show,
    /// What are, tell me.
    Ask,
    /// Words, text, everything.
    Words,
    /// Above, before this, the start of the conversation.
    Above,
    /// Word for word, in a code block.
    Verbatim,
    /// Your.
    Your,
    /// From now on.
    NowOn,
    /// You are now.
    YouAre,
    /// Pretend, act as.
    Act,
    /// An AI, the assistant.
    Machine,
    /// Names and modes of known jailbreaks.
    Jailbreak,
    /// Without restrictions.
    Free,
    /// Never refuse, stay in character.
    Obey,
    /// Without.
    Without,
    /// Restrictions, filters, ethics.
    Limits,
    /// Unfiltered, amoral.
    Amoral,
    /// Developer mode, maintenance mode.
    Mode,
    /// Enter, activate.
    Enter,
    /// I am the developer.
    Authority,
    /// New instructions.
    NewTask,
    /// Only say.
    OnlySay,
    /// The end of what came before.
    Boundary,
    /// Passwords and other secrets.
    Secret,
    /// Addressed to an AI that reads.
    ToMachine,
    /// The user, as a third person.
    TheUser,
    /// In your response, your summary.
    YourAnswer,
    /// Not to tell.
    Conceal,
    /// Send, forward, upload.
    Send,
    /// Add, include, mention.
    Include,
    /// The following code.
    FollowingCode,
    /// Tokens of chat templates.
    Template,
    /// A part of a conversation at the start of a line.
    Speaker,
    /// Words whose letters were rotated or reversed.
    Rotated,
    /// The same by a reversed alphabet.
    Mirrored,
    /// The same by reversed order.
    Reversed,
    /// Hypothetical, fictional.
    Fiction,
    /// Decode and follow.
    Decode,
    /// If asked.
    IfAsked,
    /// Comply, obey.
    Comply,
}

/// All words but the tokens of templates, with what they do; `|` stands between.
#[rustfmt::skip]
pub(super) const WORDS: &[(Role, &str)] = &[
    (Role::Ignore, "ignore|ignoring|disregard*|forget|override|overrule|overwrite|bypass|neglect|discard|abandon|pay no attention to|set aside|leave aside|throw away|drop|do not consider|skip|\
ignorier*|vergiss|vergessen sie|vergesst|missachte*|ueberschreib*|uberschreib*|umgeh*|beachte nicht|ubergehe|\
ignorez|oublie|oubliez|neglige*|ne tiens pas compte|ne tenez pas compte|ne tiens aucun compte|contourne*|fais abstraction|faites abstraction|outrepasse*|\
ignora|ignoren|ignorar|ignorad|olvida|olvide|olviden|olvidar|olvidate|omite|omitir|descarta|descarte|pasa por alto|haz caso omiso|haga caso omiso|desobedece|\
ignorare|ignorate|dimentica|dimenticate|dimenticare|trascura|scorda|scordati|tralascia|non considerare|non tenere conto|\
ignorem|esqueca|esquece|esquecer|desconsidere|desconsidera|despreze|nao considere|descarte|desobedeca"),
    (Role::Unfollow, "do not follow|don't follow|dont follow|stop following|do not obey|don't obey|stop obeying|no longer follow|no longer obey|not follow|violate|break|do not adhere|no longer bound by|not bound by|\
befolge nicht|folge nicht|halte dich nicht an|nicht mehr an|ne suis pas|ne suivez pas|ne respecte pas|no sigas|no siga|deja de seguir|non seguire|smetti di seguire|nao siga|pare de seguir"),
    (Role::Which, "all|any|every|everything|your|the|these|those|my|its|whatever|alle|alles|samtliche*|deine*|ihre*|eure*|die|jegliche*|toutes|toute|tous|tout|les|tes|vos|ces|\
todas|todos|toda|todo|las|los|tus|sus|cualquier|tutte|tutti|ogni|le|tue|tuoi|vostre|as|os|suas|seus|tuas|teus|quaisquer|qualquer"),
    (Role::Prior, "previous|previously|prior|above|earlier|preceding|foregoing|former|past|original|initial|existing|old|before|so far|given to you|you were given|you have been given|you received|\
vorherige*|vorangegangene*|vorangehende*|bisherige*|obige*|fruhere*|vorige*|zuvor|ursprungliche*|precedent*|anterieur*|ci-dessus|initiales|\
anterior*|previas|previos|previa|precedente*|previe|di prima|sopra|antes|acima|iniciales|iniciais|iniziali"),
    (Role::Rules, "instruction*|direction|directions|directive*|guideline*|rule|rules|command|commands|order|orders|programming|constraint*|restriction*|training|policy|policies|safeguard*|guardrail*|protocols|\
anweisung*|instruktion*|regel|regeln|vorgabe*|befehl*|richtlinie*|einschrankung*|consigne*|regles|regle|directives|ordres|\
instruccion*|reglas|regla|ordenes|directrices|indicaciones|restricciones|istruzion*|regole|direttive|ordini|indicazioni|\
instruc*|regras|diretrizes|ordens|orientacoes|restricoes"),
    (Role::Said, "you were told|you have been told|you've been told|i told you|i said|was said|been said|told you|context|messages|conversation|input|inputs|prompts|prompt|text|content|\
gesagt wurde|gesagt habe|kontext|nachrichten|messages precedents|contexte|mensajes|contexto|messaggi|contesto|mensagens"),
    (Role::Prompt, "system prompt*|systemprompt*|system_prompt*|system-prompt*|sysprompt|system message*|system instruction*|system configuration|initial prompt|original prompt|hidden prompt|secret prompt|pre-prompt|preprompt|\
initial instruction*|original instruction*|hidden instruction*|secret instruction*|starting instruction*|initial configuration|custom instructions|initialization string|initialization prompt|developer message|base prompt|prompt text|\
system-anweisung*|systemanweisung*|systemnachricht|ursprungliche anweisung*|message systeme|instructions systeme|prompt systeme|invite systeme|instructions initiales|mensaje del sistema|prompt del sistema|instrucciones del sistema|instrucciones iniciales|\
prompt di sistema|istruzioni di sistema|istruzioni iniziali|messaggio di sistema|prompt do sistema|prompt de sistema|instrucoes do sistema|instrucoes iniciais|mensagem do sistema"),
    (Role::Show, "repeat|print|show|reveal|display|output|outputting|give me|give us|share|list|write out|write down|write|recite|leak|dump|summarize|summarise|translate|encode|expose|disclose|spell out|copy|reproduce|paraphrase|rephrase|echo|return|convert|paste|divulge|quote|state|format|rewrite|log|\
wiederhole*|zeig|zeige|zeigen sie|nenne|gib|verrate|drucke|ubersetze|schreibe|offenbare|repete*|affiche*|montre*|revele*|donne*|ecris|ecrivez|traduis|traduisez|recopie*|imprime*|\
repite|repita|muestra*|muestre|revela*|imprime|imprima|escribe|escriba|dame|traduce|traduzca|di|ripeti|mostra*|rivela*|stampa|scrivi|traduci|dimmi|\
repita|mostre|exiba|escreva|imprima|traduza|revele|diga"),
    (Role::Ask, "what is|what's|what are|what were|what was|what did|tell me|tell us|how do|explain|describe|can you tell|could you tell|i need to see|i want to see|let me see|was ist|was sind|wie lauten|wie lautet|quelles sont|quel est|quelle est|dis-moi|dites-moi|cuales son|cual es|dime|quali sono|qual e|dimmi|quais sao|diga-me|me diga"),
    (Role::Words, "words|word|text|everything|sentences|sentence|lines|line|content|all|contents|paragraph*|message|messages|conversation|prompt|instruction*|worter|satze|zeilen|inhalt|phrase|phrases|mots|texte|palabras|frases|texto|contenido|parole|frasi|testo|palavras|conteudo"),
    (Role::Above, "above|before this|prior to this|preceding this|beginning of this conversation|start of this conversation|beginning of the conversation|start of the conversation|begin of the conversation|before our conversation|before this conversation|at the beginning|at the start|at the top|initially|so far|until now|up to this point|up to now|before my|before the user|\
oben|oberhalb|bisher|zu beginn|am anfang|ci-dessus|plus haut|au debut|jusqu'ici|de arriba|mas arriba|al principio|hasta ahora|al comienzo|qui sopra|di sopra|all'inizio|finora|acima|no inicio|ate agora"),
    (Role::Verbatim, "verbatim|word for word|word-for-word|exactly as|in full|code block|codeblock|txt block|without changing|letter by letter|in its entirety|entire|full|exact|in base64|in rot13|in hex|backwards|bullet list|as a list|json format|in json|in markdown|as pseudocode|wortlich|wort fur wort|vollstandig|mot pour mot|textuellement|en entier|palabra por palabra|literalmente|al pie de la letra|parola per parola|alla lettera|palavra por palavra|na integra"),
    (Role::Your, "your|deine*|dein|ihre|ihren|tes|ton|ta|vos|votre|tus|tu|sus|tue|tuoi|tuo|tua|seus|suas|seu|sua|teu"),
    (Role::NowOn, "from now on|from here on|from this point|from this moment|henceforth|starting now|going forward|ab jetzt|ab sofort|von nun an|von jetzt an|desormais|a partir de maintenant|dorenavant|a partir de ahora|desde ahora|de ahora en adelante|d'ora in poi|da ora in poi|da adesso|a partir de agora|de agora em diante"),
    (Role::YouAre, "you are now|you're now|you will be now|you now are|you shall now|you will now|you are no longer|you are going to|you're going to|you are about to|you have been|you will act|you will be|du bist jetzt|du bist nun|sie sind jetzt|du bist nicht mehr|tu es maintenant|vous etes maintenant|tu n'es plus|ahora eres|ya no eres|eres ahora|ora sei|adesso sei|non sei piu|agora voce e|voce agora e|voce nao e mais|tu agora es"),
    (Role::Act, "act as|acting as|act like|pretend*|roleplay*|role-play*|role play*|play the role|take the role|simulate|simulating|impersonate|behave as|behave like|respond as|answer as|in the role of|emulate|immerse yourself|take on the persona|\
tu so als|tue so als|spiele die rolle|verhalte dich|agiere als|fais semblant|joue le role|comporte-toi|agis comme|actua como|finge|haz de cuenta|interpreta|comportate como|fingi*|agisci come|comportati|finja|aja como|atue como|comporte-se"),
    (Role::Machine, "ai|a.i.|assistant|chatbot|bot|language model|llm|llms|chatgpt|gpt|gpt-3|gpt-4|gpt4|gpt3|openai|claude|gemini|bard|copilot|model|ki|assistent|sprachmodell|ia|modele|asistente|modelo|assistente|modello|artificial intelligence|robot"),
    (Role::Jailbreak, "do anything now|dan mode|jailbreak mode|jailbroken|jailbreaked|god mode|opposite day|developer mode|dev mode|evil confidant|always intelligent and machiavellian|strive to avoid norms|unrestricted mode|no filter mode|debug mode|sudo mode|chaos mode|entwicklermodus|mode developpeur|modo desarrollador|modalita sviluppatore|modo desenvolvedor|modo de desarrollador|modo diablo|unlocked mode|stay a dan|stay in dan"),
    (Role::Free, "without restrictions|without any restrictions|no restrictions|no limits|no limitations|without limitations|without limits|without any limits|free of restrictions|free from restrictions|broken free|break free|freed from|no filters|no filter|without filters|without filter|without censorship|no censorship|no rules|no ethical|no moral|no guidelines|without any filter|without ethical|no boundaries|no safety|zero restrictions|anything goes|no inhibitions|unbound|typical confines|\
ohne einschrankung*|ohne filter|ohne regeln|ohne beschrankung*|ohne zensur|keine regeln|keine einschrankung*|sans restriction*|sans filtre*|sans limite*|sans censure|aucune restriction|aucune limite|sin restricciones|sin filtros|sin limites|sin censura|sin reglas|senza restrizioni|senza filtri|senza limiti|senza censura|senza regole|sem restricoes|sem filtros|sem limites|sem censura|sem regras"),
    (Role::Obey, "never refuse*|never refusing|cannot refuse|can't refuse|do not refuse|don't refuse|must not refuse|never say no|cannot say no|never decline|must comply|always comply|always obey|never apologize|do not apologize|no disclaimer*|no warnings|stay in character|remain in character|stays in character|break character|breaking character|no matter what|no matter how|without question|regardless of|will answer anything|answer any question|any request|every request|any prompt|can't answer|cannot answer|i'm sorry|i cannot|i can't|as an ai language model|no moralizing|do not moralize|\
verweigere nie|lehne nie ab|niemals ablehnen|bleib in der rolle|ne refuse* jamais|reste dans le role|nunca te niegues|nunca rechaces|siempre obedece|manten el personaje|non rifiutare mai|resta nel personaggio|nunca recuse|nunca se recuse|permaneca no personagem"),
    (Role::Without, "without|no|free of|free from|not bound by|lift|lifted|remove|removed|has no|have no|ohne|keine*|sans|aucune|aucun|sin|ningun*|senza|nessun*|sem|nenhum*|not have to abide|not abide|unaffected by|disable*|turn off|switch off"),
    (Role::Limits, "restrictions|restriction|filters|filter|limitations|limits|censorship|ethical|ethics|moral|morals|morality|guidelines|guardrails|safety|content policy|content policies|usage policies|openai policies|openai policy|openai's|safeguards|boundaries|legality|rules set|\
einschrankungen|filter|grenzen|zensur|ethik|moral|ethique|morale|censure|filtre|limites|etica|moral|censura|filtros|restricciones|restrizioni|filtri|limiti|restricoes"),
    (Role::Amoral, "unfiltered|uncensored|unrestricted|amoral|unethical|immoral|unmoderated|unhinged|ungefiltert*|unzensiert*|uneingeschrankt*|sans-filtre|non censure|irrestricto|sin censurar|senza censure|nao filtrad*|illegal|machiavellian|evil|dan|stan|dude"),
    (Role::Mode, "developer mode|dev mode|maintenance mode|debug mode|debugging mode|admin mode|administrator mode|administrator override|admin override|system mode|system override|override mode|root access|sudo|god mode|test mode|testing mode|safe mode off|diagnostic mode|privileged mode|verification mode|recovery mode|emergency override|master override|service mode|\
wartungsmodus|entwicklermodus|administratormodus|mode maintenance|mode administrateur|mode developpeur|modo mantenimiento|modo administrador|modo desarrollador|modalita manutenzione|modalita amministratore|modo de manutencao|modo desenvolvedor"),
    (Role::Enter, "enter|activate|enable|enabled|switch to|switch into|turn on|engage|initiate|unlock|boot|start|now in|you are in|entering|aktiviere|wechsle|active|activez|passe en|activa|active el|entra en|attiva|entra in|ative|entre no"),
    (Role::Authority, "i am the developer|i'm the developer|i'm a developer|i am a developer|i am your developer|i am your creator|i'm your creator|as your creator|as your developer|i am the administrator|i'm the administrator|i am an administrator|i am an admin|i'm an admin|this is the administrator|openai engineer|anthropic engineer|security audit|security researcher|authorized personnel|authorized by|you are authorized|quality assurance|for troubleshooting|debugging this system|i have permission|as an ai developed by|i am god|system administrator|ich bin der entwickler|ich bin dein entwickler|je suis le developpeur|je suis ton createur|soy el desarrollador|soy tu creador|sono lo sviluppatore|sono il tuo creatore|sou o desenvolvedor|sou seu criador"),
    (Role::NewTask, "new instruction*|updated instruction*|real instruction*|actual instruction*|new task|updated task|real task|actual task|new rules|new directive*|new objective|new mission|different task|additional instruction*|important instruction*|updated system|new system prompt|here are your new|neue anweisung*|neue aufgabe|nouvelles instructions|nouvelle tache|nuevas instrucciones|nueva tarea|nuove istruzioni|nuovo compito|novas instrucoes|nova tarefa"),
    (Role::OnlySay, "just say|just print|only say|only print|only output|say only|print only|output only|just output|just reply|just respond|respond only|reply only|respond with only|reply with only|answer only with|and nothing else|absolutely nothing else|nothing but|only the following|exactly the following|and say|and print|and output|say the following|respond with the following|reply with the following|instead say|instead print|instead output|instead reply|begin your reply with|begin your response with|start your response with|start your answer with|begin with the phrase|\
sag nur|sage nur|antworte nur mit|schreibe nur|gib nur|dis seulement|dis uniquement|reponds seulement|reponds uniquement|ecris seulement|ecris uniquement|di solo|solo di|responde solo|responde unicamente|escribe solo|di soltanto|rispondi solo|scrivi solo|rispondi soltanto|diga apenas|responda apenas|escreva apenas|diga somente|responda somente"),
    (Role::Boundary, "stop everything|nevermind|never mind|end of prompt|end of session|end of text|end of document|end of instructions|end of message|end of user input|end of input|end instructions|begin new|end user|session terminated|conversation over|end of context|end of data|end of file|end of report|end of conversation|rest of document|rest-of-document|ende des dokuments|fin du document|fin del documento|fine del documento|fim do documento"),
    (Role::Secret, "password*|passphrase|passcode|secret key|secret code|secret word|access code|access key|api key|api keys|credential*|confidential|secrets|secret|token|private key|pin code|passwort|kennwort|geheimwort|geheime*|mot de passe|code secret|contrasena|clave secreta|clave|parola d'ordine|parola chiave|chiave segreta|senha|palavra-passe|chave secreta|codigo secreto"),
    (Role::ToMachine, "if you are an ai|if you're an ai|if you are a language model|if you are an llm|dear ai|dear assistant|hey ai|hello ai|hey assistant|note to ai|note to the ai|attention ai|attention assistant|to the assistant|ai assistant*|ai model*|ai agent*|ai system*|to any ai|any ai|to all ai|ai reading|llm reading|language model*|automated screening|automated system*|automated review*|screening system*|dear chatgpt|hey chatgpt|hey gpt|the assistant should|the assistant must|assistant must|assistant should|the ai must|the ai should|the model must|\
important message|note for the assistant|message for the assistant|an die ki|liebe ki|achtung ki|sprachmodell*|wenn du eine ki|a l'ia|chere ia|si tu es une ia|si vous etes une ia|attention ia|modele de langage|si eres una ia|querida ia|atencion ia|modelo de lenguaje|se sei un'ia|cara ia|attenzione ia|modello linguistico|se voce e uma ia|cara ia|atencao ia|modelo de linguagem"),
    (Role::TheUser, "the user|the users|user asks|users to|the reader|readers to|the human|the recruiter|der nutzer|dem nutzer|den nutzer|l'utilisateur|el usuario|al usuario|l'utente|all'utente|o usuario|ao usuario|o utilizador"),
    (Role::YourAnswer, "your response|your responses|your answer|your answers|your answer's|your response's|your reply|your replies|your summary|your output|your message|your final answer|your report|your translation|your code|your codebase|your solution|your implementation|your algorithm|your explanation|when responding|when summarizing|when answering|when replying|deine antwort|deiner antwort|ihre antwort|ihrer antwort|deine* zusammenfassung|ta reponse|votre reponse|ton resume|votre resume|tu respuesta|su respuesta|tu resumen|la tua risposta|tua risposta|tuo riassunto|sua resposta|tua resposta|seu resumo"),
    (Role::Conceal, "do not mention|don't mention|do not tell|don't tell|without telling|without informing|without mentioning|without asking|do not inform|do not reveal this|do not disclose this|secretly|silently|keep this hidden|keep this secret|do not let the user|never mention|erwahne nicht|sage nichts davon|ohne es zu erwahnen|heimlich|ne mentionne pas|ne le dis pas|sans le dire|en secret|no menciones|no le digas|sin decir*|en secreto|non menzionare|non dire|senza dir*|in segreto|nao mencione|nao diga|sem avisar|em segredo"),
    (Role::Send, "send|forward|email|e-mail|post|upload|exfiltrate|transfer|wire|submit|transmit|curl|fetch|visit|navigate to|click|go to|browse to|open the link|redirect|call the|invoke|execute|delete|purchase|buy|sende|schicke|leite|uberweise|loesche|losche|envoie*|transfere*|supprime*|clique*|visite*|envia*|reenvia*|transfiere|elimina|borra|haz clic|invia*|inoltra*|trasferisci|clicca|envie|encaminhe|transfira|apague|clique"),
    (Role::Include, "add|include|incorporate|integrate|insert|append|mention|embed|augment|enhance|modify|replace|substitute|use|utilize|provide|ensure|merge|blend|infuse|render|begin|start|end|conclude|finish|recommend|suggest|promote|rate|report|conclude that|respond|reply|answer|write|state|fuge|erwahne|empfiehl|antworte|ajoute*|inclus|incluez|mentionne*|recommande*|reponds|agrega|anade|incluye|menciona|recomienda|responde|aggiungi|includi|menziona|consiglia|rispondi|adicione|inclua|mencione|recomende|responda"),
    (Role::FollowingCode, "following code|subsequent code|below code|code below|next code|following snippet|following script|following command*|following function|folgenden code|code suivant|siguiente codigo|codigo siguiente|codice seguente|seguente codice|seguinte codigo|codigo a seguir"),
    (Role::Speaker, "system:|system :|### system|### instruction*|human:|assistant:|user:|admin:|developer:|system message:|observation:|###system"),
    (Role::Rotated, "vtaber*|vtabevat|cerivbhf|vafgehpgvba*|flfgrz|cebzcg*|cnffjbeq|frperg|erirny|qvfertneq|sbetrg|cergraq|erfgevpgvba*|thvqryvarf|naljnl|nafjre|erfcbaq|punegcg|flfgrzcebzcg|cyrnfr|nyy|gur|lbhe|naq|lbh"),
    (Role::Mirrored, "rtmliv|kiverlfh|rmhgifxgrlm*|hbhgvn|kilnkg|kzhhdliw|hvxivg|ivevzo|zmw|gsv|blf|blfi|zoo"),
    (Role::Reversed, "erongi|gnirongi|suoiverp|snoitcurtsni|metsys|tpmorp|drowssap|terces|laever|tegrof|dneterp|lla|eht|dna|uoy|ruoy"),
    (Role::Fiction, "hypothetical*|fictional|fiction|imaginary|alternate universe|parallel universe|in this world|thought experiment|in a story|novel|screenplay|hypothetisch*|fiktiv*|hypothetique*|fictif*|hipotetic*|ficticio*|ipotetic*|immaginario"),
    (Role::Decode, "decode|decrypt|decipher|base64|rot13|dekodiere|entschlussle|decodifica|decode*|decodez|decodifique|descifra|unscramble|morse|hexadecimal"),
    (Role::IfAsked, "if asked|when asked|if questioned|if the user|if user|when the user|if anyone asks|if you are asked|if prompted|whenever|wenn du gefragt|falls gefragt|wenn der nutzer|si on te demande|si l'utilisateur|si te preguntan|si el usuario|se ti viene chiesto|se l'utente|se perguntarem|se o usuario"),
    (Role::Comply, "comply|obey|follow my|do as i say|do exactly as|do what i say|listen to me|only listen to|follow these|you must follow|gehorche|obeis|obeissez|obedece|ubbidisci|obbedisci|obedeca"),
];

/// Tokens by which chat templates mark who speaks.
#[rustfmt::skip]
pub(super) const TEMPLATES: &[&str] = &[
    "<|im_start|>",
    "<|im_end|>",
    "<|system|>",
    "<|user|>",
    "<|assistant|>",
    "<|eot_id|>",
    "<|start_header_id|>",
    "<|end_header_id|>",
    "<|begin_of_text|>",
    "<|endoftext|>",
    "<|end|>",
    "<|endofprompt|>",
    "<|startoftext|>",
    "<|channel|>",
    "<|message|>",
    "[inst]",
    "[/inst]",
    "<<sys>>",
    "<</sys>>",
    "<start_of_turn>",
    "<end_of_turn>",
    "<system>",
    "</system>",
    "{{#system",
    "[system]",
    "[/system]",
    "<function_results>",
    "</function_results>",
    "<tool_result>",
    "<system_prompt>",
    "</system_prompt>",
    "<admin>",
    "<instructions>",
    "</instructions>",
];
