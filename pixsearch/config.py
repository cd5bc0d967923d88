"""Every option of the project: name, type, default, a line of meaning. YAML holds values only.

`from_omegaconf` is the bridge: what Hydra composed is merged into these dataclasses, so that an
unknown name or a wrong type fails before any model is loaded.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any, TypeVar

from omegaconf import MISSING, DictConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException

Options = TypeVar("Options")


class GroundBy(StrEnum):
    """How the model tells which of its words have a mask."""

    seg = "seg"  # by a token behind them (LISA, GLaMM, Sa2VA)
    span = "span"  # by a tagger that reads its states (PLUM)


class SegState(StrEnum):
    """Which hidden state prompts the mask decoder."""

    predicting = "predicting"  # the position that predicts <seg> (LISA, GLaMM)
    token = "token"  # the position of <seg> itself (Sa2VA)


class MaskLoss(StrEnum):
    """The overlap term beside the mask's binary cross-entropy."""

    dice = "dice"
    focal_tversky = "focal_tversky"


class TrainablePart(StrEnum):
    """Parts of the model whose weights a stage may train (pixsearch/model/trainable.py)."""

    projector = "projector"
    language_model = "language_model"  # its layers; embedding and head are `tokens`
    lora = "lora"
    tokens = "tokens"
    grounding = "grounding"  # states -> prompts: projection, tagger, mask feedback
    mask_decoder = "mask_decoder"
    prompt_encoder = "prompt_encoder"


class TrainableTokens(StrEnum):
    """Which embedding and head rows train when the language model does not train as a whole."""

    new_rows = "new_rows"
    all = "all"


class ImageFit(StrEnum):
    """How an image becomes the square that the vision tower expects."""

    pad = "pad"  # pad the short side with the mean colour (LLaVA-1.5)
    crop = "crop"  # shortest side to size, then centre crop (CLIP)
    squash = "squash"  # ignore the aspect ratio (CRAG-MM)


class Resampling(StrEnum):
    """The filter by which an image becomes the segmenter's square."""

    bilinear = "bilinear"  # SAM, SAM 2
    bicubic = "bicubic"  # Sa2VA


class Projector(StrEnum):
    """What joins the vision tower and the language model of a LLaVA."""

    own = "own"  # the backbone's; in transformers' LLaVA two layers with a GELU between
    linear = "linear"  # one layer (LISA, PLUM); drawn anew unless a checkpoint brings it


class ChatStyle(StrEnum):
    """The words around the turns that a backbone was trained with; see TEMPLATES in chat.py."""

    plain = "plain"  # USER: and ASSISTANT: alone
    llava_v1 = "llava_v1"  # LLaVA-1.5 and LLaVA-NeXT on Vicuna
    lisa = "lisa"  # llava_v1 with the image between <im_start> and <im_end> (LISA, PLUM)
    glamm = "glamm"
    llava_onevision = "llava_onevision"
    qwen2_5_vl = "qwen2_5_vl"
    qwen3_vl = "qwen3_vl"
    internvl = "internvl"
    sa2va_phi3 = "sa2va_phi3"  # Phi-3's words on an InternVL (Sa2VA-4B)


class QueryType(StrEnum):
    """How a query is put: words, the whole image, or a region of it."""

    text = "text"
    image = "image"
    region = "region"


class RegionCrop(StrEnum):
    """How a region query becomes an image."""

    masked_crop = "masked_crop"  # box of the mask, all outside the mask replaced by the mean colour
    padded_box = "padded_box"  # box of the mask with a margin, nothing replaced
    masked_fill = "masked_fill"  # the whole image, all outside the mask replaced
    blurred_surround = "blurred_surround"  # the padded box, all outside the mask blurred
    multi_scale = "multi_scale"  # boxes with growing margins, nothing replaced: their mean vector
    mask_pooled = "mask_pooled"  # no crop: the encoder's own patches under the mask, their mean


class Pooling(StrEnum):
    """How an encoder makes one vector of its tokens (words or patches)."""

    none = "none"  # no choice is made here: the encoder's own
    cls = "cls"  # the class token
    mean = "mean"  # of the words, or of the patches without class and register tokens
    pooler = "pooler"  # what transformers returns as `pooler_output`


class FromDocument(StrEnum):
    """Which chunk of a document that was found by its image becomes the passage."""

    lead = "lead"  # its first
    nearest = "nearest"  # the one nearest to the question; without a question the first


class TextSearch(StrEnum):
    """How text queries find documents."""

    dense = "dense"  # by the text encoder's vectors
    bm25 = "bm25"  # by their words alone
    hybrid = "hybrid"  # by both, ranks fused


class Backend(StrEnum):
    """What holds the vectors of documents."""

    faiss = "faiss"  # files beside the manifest
    qdrant = "qdrant"  # a collection in a Qdrant cluster; needs the extra 'qdrant'


class RetrievalSource(StrEnum):
    """Where passages come from."""

    index = "index"  # our own indexes of a knowledge base (pixsearch/retrieval/searcher.py)
    crag_mm = "crag_mm"  # CRAG-MM's published ones (pixsearch/retrieval/crag_mm/)


class OnEmptyMask(StrEnum):
    """What a region query does whose mask is empty. Counted in every case."""

    whole_image = "whole_image"
    skip = "skip"
    error = "error"


class OnSearchFailure(StrEnum):
    """What happens when the knowledge source does not answer. Counted where the run goes on."""

    error = "error"  # the run ends
    retry = "retry"  # asked again up to `search_retries` times, then the run ends
    answer_without = "answer_without"  # evidence without a passage; the search is marked as failed


class OnMissingServer(StrEnum):
    """What a search over several servers does when one of them fails."""

    error = "error"  # the search fails
    skip = "skip"  # the others' passages alone, with a warning


class ForcedFirst(StrEnum):
    """A search that the engine writes before the model says anything."""

    none = "none"
    text_query = "text_query"  # the question, word for word
    whole_image = "whole_image"


class IndexDevice(StrEnum):
    """Where vectors are compared."""

    cpu = "cpu"
    gpu = "gpu"  # factory=Flat alone, in fp16; needs FAISS with GPU support


class Control(StrEnum):
    """What replaces a query's region or passages in a control experiment."""

    none = "none"
    gold_region = "gold_region"  # the annotated mask instead of the predicted one
    random_region = "random_region"  # a random box of the predicted mask's area
    other_region = "other_region"  # the mask of another annotated entity of the image
    shuffled_passages = "shuffled_passages"  # what another whole image found, none in common


class AnswerSpan(StrEnum):
    """Which generated text is scored."""

    after_last_search = "after_last_search"
    all_generated = "all_generated"


class Precision(StrEnum):
    """Arithmetic of matrix products; weights stay in fp32."""

    auto = "auto"  # bf16 where the device has units for it, fp32 elsewhere
    fp32 = "fp32"
    bf16 = "bf16"


class Attention(StrEnum):
    """How the language model computes attention while it trains (pixsearch/model/attention.py)."""

    sdpa = "sdpa"  # torch's scaled_dot_product_attention, which chooses a kernel
    eager = "eager"  # written out, every score in memory
    flash_attention_2 = "flash_attention_2"  # the package flash-attn; NVIDIA and AMD GPUs, bf16
    flex_attention = "flex_attention"  # torch's, compiled at the first step; GPUs


class Quantization(StrEnum):
    """How the layers of the language model are kept (pixsearch/model/quantization.py)."""

    none = "none"
    nf4 = "nf4"  # QLoRA: 4 bits, frozen; adapters train


class Decay(StrEnum):
    """How the learning rate falls after the warm-up."""

    linear = "linear"
    cosine = "cosine"
    constant = "constant"


class WandbMode(StrEnum):
    """Whether metrics also go to Weights & Biases."""

    disabled = "disabled"
    offline = "offline"  # written beside the run, sent later with `wandb sync`
    online = "online"


class Gpu(StrEnum):
    """Cards whose memory and arithmetic a plan knows (pixsearch/training/planning/gpus.py)."""

    a100_40gb = "a100_40gb"
    a100_80gb = "a100_80gb"
    l40s = "l40s"
    h100 = "h100"
    h200 = "h200"


class Foundation(StrEnum):
    """Where the miniature's pre-trained parts come from."""

    committed = "committed"  # the weights in the repository
    scratch = "scratch"  # trained anew, in hours


@dataclass
class PathOptions:
    """Where everything lies; the folders of the other options are given relative to these."""

    data: str = "data"  # real data sets and knowledge bases, see data/README.md
    outputs: str = "outputs"  # runs, indexes and results
    miniature: str = "outputs/miniature/runs/seed0-default"  # one run of the miniature
    foundation: str = "assets/miniature"  # the miniature's pre-trained parts


@dataclass
class ModelOptions:
    """`configs/model/`: which parts PixSearch is composed of."""

    language_model: str = MISSING  # folder or hub id of a transformers image-text-to-text model
    segmenter: str = MISSING  # folder or hub id of a transformers SAM or SAM 2
    chat: ChatStyle = ChatStyle.plain
    projector: Projector = Projector.own
    token_mapping: dict[str, str] = field(default_factory=dict)  # ours -> the backbone's, by ++
    ground_by: GroundBy = GroundBy.seg
    seg_state: SegState = SegState.predicting
    tagger_heads: int = 8  # of ground_by=span
    tagger_width: int = 2048  # inside its feed-forward layer
    tagger_dropout: float = 0.1
    mask_feedback: bool = False  # ground_by=span: earlier masks of a conversation prompt the next
    image_fit: ImageFit = ImageFit.pad  # LLaVA-1.5 alone; the others have their own
    restate_question: bool = False  # evidence ends with the question; part of the checkpoint
    lora_rank: int = 0  # 0: no LoRA
    lora_alpha: int = 16
    lora_dropout: float = 0.05
    lora_targets: list[str] = field(default_factory=lambda: ["q_proj", "v_proj"])
    precision: Precision = Precision.auto
    quantization: Quantization = Quantization.none  # part of the checkpoint
    attention: Attention = Attention.sdpa  # in training; answers are decoded with sdpa
    frozen_in_bf16: bool = False  # keep frozen matrices as bf16 arithmetic rounds them
    gradient_checkpointing: bool = False  # compute layers again in the backward: memory for time


@dataclass
class LossOptions:
    """Weights of the summed loss (paper, table of hyper-parameters)."""

    language: float = 1.0
    mask_overlap: float = 8.0
    mask_bce: float = 2.0
    overlap: MaskLoss = MaskLoss.focal_tversky
    tversky_alpha: float = 0.7  # weight of false negatives
    tversky_beta: float = 0.3  # weight of false positives
    tversky_gamma: float = 0.75
    span_tagging: float = 2.0  # of ground_by=span, like all below
    tag_weights: list[float] = field(default_factory=lambda: [0.1, 1.0, 1.0])  # of O, B and I
    teacher: float = 0.0  # pull of span states towards those without LoRA
    teacher_sigma: float = 1.0  # deviation of the Gaussian whose divergence that pull is


@dataclass
class OptimOptions:
    """AdamW with linear warm-up, then decay to `final_lr_ratio` of the learning rate."""

    lr: float = 2e-4
    betas: list[float] = field(default_factory=lambda: [0.9, 0.95])  # OmegaConf has no tuples
    weight_decay: float = 0.0
    warmup_steps: int = 100
    decay: Decay = Decay.linear
    final_lr_ratio: float = 0.0
    clip_norm: float = 1.0
    lr_scale: dict[TrainablePart, float] = field(default_factory=dict)  # overridden by ++


@dataclass
class StageOptions:
    """`configs/stage/`: a stage of training is a value, not a code path."""

    name: str = MISSING
    steps: int = MISSING
    trainable: list[TrainablePart] = MISSING
    trainable_tokens: TrainableTokens = TrainableTokens.new_rows
    init_from: str | None = None  # checkpoint folder of the stage before
    mixture: dict[str, float] = MISSING  # dataset name -> weight of samples drawn
    batch_size: int = 6  # conversations per process and micro-step
    accumulation: int = 10
    max_length: int = 512  # tokens; a longer conversation is an error that names it
    length_window: int = 1  # batches within which examples of like length go together; 1: off
    by_image: bool = False  # draw the examples of an image one after the other
    pack: bool = False  # fuller rows; conversations about one image share their beginning
    optim: OptimOptions = field(default_factory=OptimOptions)
    loss: LossOptions = field(default_factory=LossOptions)

    def __post_init__(self) -> None:
        names = ("steps", "batch_size", "accumulation", "max_length", "length_window")
        _check_at_least(1, "stage", self, names)
        if self.by_image and self.length_window != MISSING and self.length_window > 1:
            raise ValueError(
                f"stage.by_image=true and stage.length_window={self.length_window}: grouped by "
                "length, the examples of an image would part again; set one of them off"
            )


@dataclass
class DatasetOptions:
    """One source of examples: a reader's name, where its files lie, which split."""

    reader: str = MISSING  # key of pixsearch.datasets.READERS
    root: str = MISSING
    split: str = "train"


OF_ONE_POLICY = ("name", "allow", "max_searches", "forced_first", "control")
"""Fields of `PolicyOptions` in which the paper's policies differ; the others they share."""


@dataclass
class PolicyOptions:
    """`configs/policy/`: constraints on the next-token choice (design, decision 7)."""

    name: str = "full"
    allow: list[QueryType] = field(default_factory=lambda: list(QueryType))
    max_searches: int = 5
    k: int = 5  # passages per search
    evidence_tokens: int = 320  # of passages per search; whole ones are dropped from the end
    query_tokens: int = 32  # longest free-text payload
    forced_first: ForcedFirst = ForcedFirst.none
    on_empty_mask: OnEmptyMask = OnEmptyMask.whole_image
    on_search_failure: OnSearchFailure = OnSearchFailure.error
    search_retries: int = 3  # of on_search_failure=retry, beside those of retrieval.client
    region_crop: RegionCrop = RegionCrop.masked_crop
    control: Control = Control.none

    def __post_init__(self) -> None:
        _check_at_least(1, "policy", self, ("k", "evidence_tokens", "query_tokens"))
        _check_at_least(0, "policy", self, ("search_retries",))


@dataclass
class GenerationOptions:
    """The engine's limits."""

    max_new_tokens: int = 128  # sampled tokens per answer, evidence not counted
    answer_tokens: int = 32  # kept back for the forced final answer
    batch_size: int = 32  # rows decoded together
    max_length: int | None = None  # of all tokens; null: 2048 beside the image's (limits.py)
    instruction: str = ""  # plain models alone: said behind the question, e.g. how short to answer

    def __post_init__(self) -> None:
        names = ("max_new_tokens", "answer_tokens", "batch_size", "max_length")
        _check_at_least(1, "generation", self, names)


@dataclass
class EncoderOptions:
    """One encoder of queries and documents."""

    name: str = MISSING  # key of pixsearch.retrieval.encoders.ENCODERS
    model: str = ""  # folder or hub id
    revision: str | None = None  # of a hub id: commit, tag or branch
    dimension: int = MISSING
    prefix: str = ""  # put before every query
    pooling: Pooling = Pooling.none
    normalize: bool = True  # vectors to unit length (cosine); false: their inner product counts
    batch_size: int = 64

    def __post_init__(self) -> None:
        _check_at_least(1, "encoder", self, ("dimension", "batch_size"))


@dataclass
class CragMMOptions:
    """CRAG-MM's published search indexes, of retrieval.source=crag_mm."""

    image_index: str | None = None  # hub id of a data set, or a folder; null: no image search
    image_revision: str | None = None  # commit or name; null: the main branch
    web_index: str | None = None  # as image_index; null: no search by text
    web_revision: str | None = None
    copies: str = "data/crag_mm_search"  # folder of the private copies that are opened
    num_images: int = 30  # asked of the index; the entities that they show fold into k passages
    num_chunks: int = 50  # asked of the index; their pages fold into k passages
    min_image_score: float = -1.0  # cosine below which an image's entities are left out

    def __post_init__(self) -> None:
        _check_at_least(1, "crag_mm", self, ("num_images", "num_chunks"))


@dataclass
class ClientOptions:
    """How a server of passages is asked (pixsearch/retrieval/connection.py)."""

    timeout_seconds: float = 60.0  # of one try, to the end of the reply
    connect_seconds: float = 5.0
    retries: int = 3  # behind the first try
    backoff_seconds: float = 0.25  # longest wait before the first retry; twice as long each time
    max_wait_seconds: float = 30.0  # before a retry, also where the server asks for more
    breaker_failures: int = 5  # tries without an answer in a row, then the server is left alone
    breaker_seconds: float = 10.0  # for so long; searches fail at once meanwhile
    max_request_mib: int = 32  # more queries than that go in several requests
    max_reply_mib: int = 64
    token_variable: str = "PIXSEARCH_TOKEN"  # environment variable with the bearer token, if any
    on_missing_server: OnMissingServer = OnMissingServer.error  # of fan_out

    def __post_init__(self) -> None:
        names = ("breaker_failures", "max_request_mib", "max_reply_mib")
        _check_at_least(1, "retrieval.client", self, names)
        _check_at_least(0, "retrieval.client", self, ("retries", "backoff_seconds"))
        _check_positive("retrieval.client", self, ("timeout_seconds", "connect_seconds"))


@dataclass
class FusionOptions:
    """Reciprocal rank fusion of several rankings: a document counts 1 / (constant + rank) in each.

    Cormack, Clarke and Büttcher (SIGIR 2009), where the constant is 60.
    """

    constant: int = 60
    candidates: int = 100  # taken from each ranking

    def __post_init__(self) -> None:
        _check_at_least(1, "retrieval.fusion", self, ("constant", "candidates"))


@dataclass
class RerankerOptions:
    """A cross-encoder that reads text queries together with the passages found for them."""

    model: str = ""  # folder or hub id, for sentence-transformers' CrossEncoder; "": none
    revision: str | None = None  # of a hub id: commit, tag or branch
    candidates: int = 50  # passages that it reads for each query
    batch_size: int = 32

    def __post_init__(self) -> None:
        _check_at_least(1, "retrieval.reranker", self, ("candidates", "batch_size"))


@dataclass
class QdrantOptions:
    """Where backend=qdrant keeps vectors: one point per document, with its text and its images."""

    url: str | None = None  # of the cluster
    path: str | None = None  # folder of an embedded one: brute force in Python, for small bases
    collection: str = "pixsearch"  # holds one knowledge base; it is never overwritten
    key_variable: str = "QDRANT_API_KEY"  # environment variable with the key, if any
    shards: int = 1  # parts over the nodes, for good: a self-hosted cluster does not split them
    replicas: int = 1
    exact: bool = False  # compare with every vector; false: by Qdrant's HNSW graph
    ef_search: int | None = None  # candidates of a search in the graph; null: Qdrant's own
    batch_size: int = 256  # documents per request of an upload
    timeout_seconds: int = 60  # of one request
    index_seconds: float = 86400.0  # that the cluster may take to build its graph

    def __post_init__(self) -> None:
        names = ("shards", "replicas", "ef_search", "batch_size", "timeout_seconds")
        _check_at_least(1, "retrieval.qdrant", self, names)
        if self.url is not None and self.path is not None:
            raise ValueError(
                f"retrieval.qdrant.url={self.url} and path={self.path}: give one of them"
            )


@dataclass
class RetrievalOptions:
    """`configs/retrieval/`: the knowledge base and its indexes."""

    knowledge_base: str = MISSING  # folder with corpus.jsonl and images/
    index: str = MISSING  # folder of the built indexes (text/, image/)
    text_encoder: EncoderOptions = field(default_factory=EncoderOptions)
    image_encoder: EncoderOptions = field(default_factory=EncoderOptions)
    factory: str = "Flat"  # FAISS index factory string
    search_parameters: str = ""  # FAISS's, as "nprobe=64,k_factor_rf=4"; "": as it was built
    device: IndexDevice = IndexDevice.cpu
    memory_map: bool = False  # leave vectors in the file, to be read as they are asked for
    verify: bool = True  # compare the files of an index with their sha256 when it is opened
    backend: Backend = Backend.faiss
    qdrant: QdrantOptions = field(default_factory=QdrantOptions)
    text_search: TextSearch = TextSearch.dense
    fuse_question: bool = False  # image and region queries find by their question's words too
    fusion: FusionOptions = field(default_factory=FusionOptions)  # of hybrid and fuse_question
    reranker: RerankerOptions = field(default_factory=RerankerOptions)
    cache_entries: int = 0  # results that are kept for the same query; 0: none
    min_region_side: int = 8  # pixels; a smaller box is widened
    region_margin: float = 0.1  # of the box's sides, for padded_box and blurred_surround
    region_scales: list[float] = field(default_factory=lambda: [1.0, 1.5, 3.0])
    """Sides of multi_scale's boxes, in sides of the mask's own box."""
    region_blur: float = 0.1  # deviation of blurred_surround's blur, of the box's longer side
    from_document: FromDocument = FromDocument.lead  # the chunk that an image hit brings
    source: RetrievalSource = RetrievalSource.index
    crag_mm: CragMMOptions = field(default_factory=CragMMOptions)
    server: str | None = None  # URL of a server that is asked instead, with options of its own
    fan_out: list[str] = field(default_factory=list)  # likewise of several, with a part each
    client: ClientOptions = field(default_factory=ClientOptions)

    def __post_init__(self) -> None:
        _check_at_least(1, "retrieval", self, ("min_region_side",))
        _check_at_least(0, "retrieval", self, ("region_margin", "region_blur", "cache_entries"))
        self._check_backend()
        if not self.region_scales or min(self.region_scales) < 1:
            raise ValueError(
                f"retrieval.region_scales={self.region_scales}: at least one is needed, none below "
                "1, where a box would cut its mask"
            )
        if self.server is not None and self.fan_out:
            raise ValueError(
                f"retrieval.server={self.server} and retrieval.fan_out={self.fan_out}: "
                "give one server as the first, several with a part each as the second"
            )

    def _check_backend(self) -> None:
        if self.backend is Backend.qdrant and not (self.qdrant.url or self.qdrant.path):
            raise ValueError("retrieval.backend=qdrant: say where, by retrieval.qdrant.url or path")


@dataclass
class ServerOptions:
    """The server of passages (pixsearch/retrieval/server/)."""

    host: str = "127.0.0.1"
    port: int = 8000  # 0: any free one, told in the log
    token_variable: str = "PIXSEARCH_TOKEN"  # environment variable with the bearer token, if any
    allow_without_token: bool = False  # to listen beyond this machine without one
    window_milliseconds: float = 3.0  # in which requests are gathered for one search
    max_batch: int = 256  # queries of one search, unless one request alone has more
    queue_size: int = 128  # requests taken on at a time; others get 429
    timeout_seconds: float = 60.0  # of a request, from its first byte to the reply, then 504
    drain_seconds: float = 30.0  # for requests in flight when the server is stopped
    topk: int = 3  # passages per query where a request does not say (Search-R1's default)
    max_topk: int = 1000
    max_queries: int = 4096  # of one request
    max_query_characters: int = 20_000
    max_body_mib: int = 64
    max_image_megapixels: float = 32.0  # of one image
    max_request_megapixels: float = 256.0  # of all images of a request

    def __post_init__(self) -> None:
        names = ("max_batch", "queue_size", "topk", "max_topk", "max_body_mib")
        _check_at_least(1, "server", self, (*names, "max_queries", "max_query_characters"))
        _check_at_least(0, "server", self, ("port", "window_milliseconds", "drain_seconds"))
        names = ("timeout_seconds", "max_image_megapixels", "max_request_megapixels")
        _check_positive("server", self, names)
        if self.topk > self.max_topk:
            raise ValueError(f"server.topk={self.topk} is above server.max_topk={self.max_topk}")


@dataclass
class MiniatureOptions:
    """The procedurally drawn world."""

    root: str = "outputs/miniature/world"
    seed: int = 0  # below 1,000,000: higher seeds are those of the pre-trained parts
    num_train_scenes: int = 1200
    num_eval_scenes: int = 160
    num_entities: int = 480


@dataclass
class RunOptions:
    """One training run."""

    output_dir: str = MISSING
    seed: int = 0
    save_every: int = 200
    evaluate_every: int = 200  # steps between held-out losses and sample trajectories
    log_every: int = 10  # steps between points sent to wandb; metrics.jsonl has every step
    keep_checkpoints: int = 1
    held_out: int = 16  # examples at the end of each dataset that are evaluated, never trained on
    encode_batch: int = 8  # images per call of the frozen encoders
    feature_cache_gib: float = 4.0  # memory for the frozen encoders' features, per process
    feature_cache_half: bool = False  # keep them in fp16
    feature_store: str | None = None  # folder in which they are kept for later epochs and runs
    decode_ahead: bool = True  # a thread decodes the next step's images and masks meanwhile
    wandb: WandbMode = WandbMode.disabled
    overfit_one_batch: bool = False
    resume: bool = True

    def __post_init__(self) -> None:
        _check_at_least(1, "run", self, ("log_every", "encode_batch"))
        names = ("save_every", "evaluate_every", "keep_checkpoints", "held_out")
        _check_at_least(0, "run", self, (*names, "feature_cache_gib"))


@dataclass
class TrainOptions:
    """scripts/train.py"""

    model: ModelOptions = field(default_factory=ModelOptions)
    stage: StageOptions = field(default_factory=StageOptions)
    data: dict[str, DatasetOptions] = field(default_factory=dict)
    retrieval: RetrievalOptions | None = None
    run: RunOptions = field(default_factory=RunOptions)
    paths: PathOptions = field(default_factory=PathOptions)


@dataclass
class PlanAssumptions:
    """What a plan takes for granted about the machines and a sample."""

    gpu: Gpu = Gpu.a100_80gb
    num_gpus: int = 8
    utilization: float = 0.35  # of the card's peak that training reaches
    mean_tokens: int | None = None  # of a sample with its image; null: stage.max_length
    target_tokens: int = 128  # of a sample, supervised
    conversations_per_image: float = 1.0  # in the mean; of stage.by_image
    masks: int = 1  # grounded phrases of a sample
    phrase_tokens: int = 3  # of a phrase, where its words are tagged
    image_height: int = 480  # of a sample's one image, in pixels
    image_width: int = 640
    architectures: str = "configs/architecture"  # folder with the sizes of published models

    def __post_init__(self) -> None:
        names = ("num_gpus", "target_tokens", "phrase_tokens", "image_height", "image_width")
        _check_at_least(1, "plan", self, (*names, "conversations_per_image"))
        _check_at_least(0, "plan", self, ("masks",))
        if not 0 < self.utilization <= 1:
            raise ValueError(
                f"plan.utilization={self.utilization}: above 0 and at most 1 is needed"
            )


@dataclass
class PlanOptions(TrainOptions):
    """scripts/plan.py: what a training run would need; every option of the run is one of its."""

    plan: PlanAssumptions = field(default_factory=PlanAssumptions)


@dataclass
class BenchmarkOptions:
    """`configs/benchmark/`: what is asked and how it is scored."""

    name: str = MISSING  # key of pixsearch.evaluation.BENCHMARKS
    root: str = MISSING
    split: str = "validation"
    limit: int | None = None  # first n samples only


@dataclass
class EvaluateOptions:
    """scripts/evaluate.py"""

    checkpoint: str = MISSING
    output_dir: str = MISSING
    benchmark: BenchmarkOptions = field(default_factory=BenchmarkOptions)
    policy: PolicyOptions = field(default_factory=PolicyOptions)
    generation: GenerationOptions = field(default_factory=GenerationOptions)
    retrieval: RetrievalOptions = field(default_factory=RetrievalOptions)
    answer: AnswerSpan = AnswerSpan.after_last_search
    score: str = "after"  # after | only (no generation: results from the saved predictions)
    seed: int | None = None  # of the control experiments; null: the benchmark's own
    paths: PathOptions = field(default_factory=PathOptions)


@dataclass
class ReportOptions(EvaluateOptions):
    """scripts/report.py: scores what was predicted and writes the report."""

    training: dict[str, str] = field(default_factory=dict)  # stage -> its run's folder, for curves


@dataclass
class PoolOptions:
    """scripts/pool.py: one figure over several finished demos."""

    runs: list[str] = MISSING  # their folders, each with world/ and evaluation/
    output: str = "outputs/miniature/pooled.json"
    answer: AnswerSpan = AnswerSpan.after_last_search
    paths: PathOptions = field(default_factory=PathOptions)


@dataclass
class InferOptions:
    """scripts/infer.py"""

    checkpoint: str = MISSING
    question: str = MISSING
    image: str | None = None
    output_dir: str = "outputs/infer"
    policy: PolicyOptions = field(default_factory=PolicyOptions)
    generation: GenerationOptions = field(default_factory=GenerationOptions)
    retrieval: RetrievalOptions = field(default_factory=RetrievalOptions)
    paths: PathOptions = field(default_factory=PathOptions)


@dataclass
class ConvertOptions:
    """scripts/convert_checkpoint.py: a published LISA, GLaMM, PLUM or Sa2VA."""

    source: str = MISSING  # folder with shards, config.json and tokenizer
    clip: str | None = None  # all but Sa2VA: folder or hub id of the CLIP trained with
    output_dir: str = MISSING
    lora_alpha: float = 16.0  # of the adapters, if they are not merged yet
    decoder_heads: int = 8  # of the mask decoder of SAM or SAM 2
    tagger_heads: int = 8  # PLUM alone: bidir_nhead of its training
    mask_feedback: bool = True  # PLUM alone: keep the weights by which masks prompt the next
    max_length: int | None = None  # of the tokenizer; by default that of the training


@dataclass
class BenchTrainingOptions:
    """scripts/bench_training.py: sizes of the random model and of the data."""

    output: str = "outputs/bench/training.json"
    repeats: int = 3  # of every variant, each in a process of its own
    num_epochs: int = 3
    threads: int = 2
    seed: int = 0
    num_images: int = 12  # the last step's are a warm-up
    images_per_step: int = 3
    num_classes: int = 5  # conversations about each image (PLUM; LISA has 3)
    image_height: int = 480  # pixels, as in COCO
    image_width: int = 640
    max_length: int = 2048  # tokens of a packed row at most
    lr: float = 1e-2  # high, so that few steps show whether both sides learn alike
    width: int = 512  # of the language model
    layers: int = 8
    tower_width: int = 128
    tower_layers: int = 4
    segmenter_width: int = 256
    segmenter_layers: int = 6
    segmenter_side: int = 512  # pixels
    paths: PathOptions = field(default_factory=PathOptions)


@dataclass
class BuildOptions:
    """How indexes are built."""

    shard_size: int = 16384  # documents or images per shard, the unit that is resumed
    window: int = 4096  # texts that are put into batches by length together
    wait_seconds: float = 3600.0  # without a new shard of another process, then the build ends
    train_vectors: int = 262_144  # drawn to train the index
    add_vectors: int = 65_536  # added to the index at a time
    threads: int = 0  # of FAISS; 0: as OMP_NUM_THREADS says, which accelerate and torchrun set to 1
    seed: int = 0  # of what is drawn
    max_document_characters: int = 1_000_000  # of title and contents; a longer one is refused

    def __post_init__(self) -> None:
        names = ("shard_size", "window", "train_vectors", "add_vectors", "max_document_characters")
        _check_at_least(1, "build", self, names)
        _check_at_least(0, "build", self, ("wait_seconds", "threads"))


@dataclass
class BuildIndexOptions:
    """scripts/build_index.py"""

    retrieval: RetrievalOptions = field(default_factory=RetrievalOptions)
    build: BuildOptions = field(default_factory=BuildOptions)
    paths: PathOptions = field(default_factory=PathOptions)


@dataclass
class ImportCorpusOptions:
    """scripts/import_corpus.py: a corpus of another project becomes a knowledge base."""

    reader: str = MISSING  # key of pixsearch.retrieval.corpora.READERS
    source: str = MISSING  # file, or folder of parquet files
    knowledge_base: str = MISSING  # folder that is made
    paths: PathOptions = field(default_factory=PathOptions)


@dataclass
class BenchIndexOptions:
    """scripts/bench_index.py: memory and time of building indexes over random vectors."""

    output: str = "outputs/bench/index.json"
    count: int = 2_000_000
    dimension: int = 384
    num_clusters: int = 10_000  # around which the vectors lie
    factories: list[str] = field(
        default_factory=lambda: [
            "IVF4096,RaBitQfs,Refine(SQ8) nprobe=64,k_factor_rf=4",
            "HNSW32,SQ8 efSearch=64",
        ]
    )  # each with a blank and its search parameters, if any
    folder: str = "outputs/bench/vectors"  # for vectors and indexes, emptied behind the run
    build: BuildOptions = field(default_factory=lambda: BuildOptions(threads=2))
    paths: PathOptions = field(default_factory=PathOptions)


@dataclass
class ServeRetrieverOptions:
    """scripts/serve_retriever.py"""

    server: ServerOptions = field(default_factory=ServerOptions)
    retrieval: RetrievalOptions = field(default_factory=RetrievalOptions)
    paths: PathOptions = field(default_factory=PathOptions)


@dataclass
class BenchRetrievalOptions:
    """scripts/bench_retrieval.py: speed and recall of index types, and what our call adds to them.

    An index is written as its factory, a blank and its search parameters, if it has any.
    """

    output: str = "outputs/bench/retrieval.json"
    count: int = 200_000  # documents, each with one vector
    dimension: int = 768
    documents_per_topic: int = 1000  # they lie about one point
    words: int = 100  # of a passage
    num_queries: int = 1000  # over which recall and speed are measured
    batch: int = 64  # queries of one call
    k: int = 5  # passages of one query; recall is that of the ten nearest
    repeats: int = 51  # calls by which an overhead is measured, each with other queries
    indexes: list[str] = field(
        default_factory=lambda: [
            "Flat",
            "SQfp16",
            "SQ8",
            "HNSW32 efSearch=64",
            "HNSW32,SQ8 efSearch=64",
            "HNSW32,SQ8 efSearch=128",
            "IVF1024,Flat nprobe=32",
            "IVF1024,SQ8 nprobe=32",
            "IVF1024,SQ8 nprobe=64",
            "IVF1024,PQ96x4fs,Refine(SQ8) nprobe=64,k_factor_rf=20",
            "IVF1024,RaBitQfs,Refine(SQ8) nprobe=32,k_factor_rf=4",
            "IVF1024,RaBitQfs,Refine(SQ8) nprobe=64,k_factor_rf=10",
            "IVF1024,RaBitQfs4 nprobe=64",
        ]
    )
    overhead: list[str] = field(default_factory=lambda: ["Flat", "HNSW32,SQ8 efSearch=64"])
    build: BuildOptions = field(default_factory=lambda: BuildOptions(threads=2))
    folder: str = "outputs/bench/passages"  # for documents and indexes, emptied behind the run
    paths: PathOptions = field(default_factory=PathOptions)

    def __post_init__(self) -> None:
        names = ("count", "dimension", "documents_per_topic", "words", "num_queries")
        _check_at_least(1, "bench", self, (*names, "batch", "k", "repeats"))


@dataclass
class BenchServerOptions:
    """scripts/bench_server.py: many clients at once ask a server with made-up documents."""

    output: str = "outputs/bench/server.json"
    seconds: float = 60.0
    num_clients: int = 64
    num_documents: int = 2000
    num_questions: int = 200  # different ones, whose answers are known beforehand
    queries_per_request: int = 4
    k: int = 5
    seed: int = 0
    server: ServerOptions = field(default_factory=lambda: ServerOptions(port=0))
    paths: PathOptions = field(default_factory=PathOptions)

    def __post_init__(self) -> None:
        names = ("num_clients", "num_documents", "num_questions", "queries_per_request", "k")
        _check_at_least(1, "bench", self, names)


@dataclass
class ChunkOptions:
    """How a text is cut; the paper does not say (pixsearch/retrieval/sources/chunking.py)."""

    words: int = 100  # of a chunk at most
    overlap: int = 0  # words that a chunk repeats of the one before it

    def __post_init__(self) -> None:
        _check_at_least(1, "chunks", self, ("words",))
        _check_at_least(0, "chunks", self, ("overlap",))
        if self.overlap >= (self.words + 1) // 2:
            raise ValueError(
                f"chunks.overlap={self.overlap}: less than half of chunks.words={self.words} is "
                "needed, for a chunk may end at a sentence in its second half"
            )


@dataclass
class ImageSourceOptions:
    """Where images come from and which are taken. Limits on requests are Wikimedia's wishes."""

    folder: str | None = None  # images at hand, Q806/Q806563.jpg as OVEN's tar has them
    download: bool = True  # those that are not at hand
    contact: str | None = None  # your e-mail address or page, said to the server
    connections: int = 2
    megabits_per_second: float | None = 25.0  # of all connections together; null: no limit
    timeout: float = 60.0  # seconds for an image, and for any sign of life of the server
    attempts: int = 5
    back_off: float = 1.0  # seconds before the second attempt, doubled before each other one
    longest_wait: float = 600.0  # seconds; a server that asks for more ends the run
    max_megabytes: float = 50.0  # of a file; larger ones are quarantined, like all below
    max_megapixels: float = 80.0
    max_side: int | None = 1024  # pixels; larger images are stored scaled down; null: as they are
    retry_quarantined: bool = False  # ask once more for what failed in an earlier run

    def __post_init__(self) -> None:
        _check_at_least(1, "images", self, ("connections", "attempts", "max_side"))
        _check_at_least(0, "images", self, ("back_off", "longest_wait"))
        for name in ("megabits_per_second", "timeout", "max_megabytes", "max_megapixels"):
            if (value := getattr(self, name)) is not None and value <= 0:
                raise ValueError(f"images.{name}={value}: more than 0 is needed")


@dataclass
class PrepareKnowledgeOptions:
    """scripts/prepare_knowledge.py"""

    source: str = MISSING  # key of pixsearch.retrieval.sources.READERS
    file: str = MISSING  # the source's articles
    output_dir: str = MISSING  # the knowledge base
    chunks: ChunkOptions = field(default_factory=ChunkOptions)
    images: ImageSourceOptions = field(default_factory=ImageSourceOptions)
    limit: int | None = None  # first n articles only
    dry_run: bool = False  # count, and write and ask for nothing
    paths: PathOptions = field(default_factory=PathOptions)

    def __post_init__(self) -> None:
        if self.limit is not None and self.limit < 1:
            raise ValueError(f"limit={self.limit}: at least 1 is needed; null takes all")


@dataclass
class BuildWorldOptions:
    """scripts/build_world.py"""

    miniature: MiniatureOptions = field(default_factory=MiniatureOptions)
    paths: PathOptions = field(default_factory=PathOptions)


@dataclass
class BuildTrajectoriesOptions:
    """scripts/build_trajectories.py: evidence comes from the knowledge of training entities."""

    miniature: MiniatureOptions = field(default_factory=MiniatureOptions)
    retrieval: RetrievalOptions = field(default_factory=RetrievalOptions)
    policy: PolicyOptions = field(default_factory=PolicyOptions)
    paths: PathOptions = field(default_factory=PathOptions)


@dataclass
class PretrainOptions:
    """scripts/pretrain_miniature.py"""

    output_dir: str = "assets/miniature"
    num_entities: int = 2000
    num_scenes: int = 14000
    tower_steps: int = 4000
    segmenter_steps: int = 1800
    language_model_steps: int = 2500


@dataclass
class DemoOptions:
    """scripts/demo.py: the miniature run. Each section goes on to the scripts that have it."""

    output_dir: str = "outputs/miniature"
    preset: str = "default"  # key of configs/preset/
    foundation: Foundation = Foundation.committed
    policies: list[str] = MISSING  # keys of configs/policy/, evaluated in this order
    pretrain: PretrainOptions = field(default_factory=PretrainOptions)  # foundation=scratch alone
    miniature: MiniatureOptions = field(default_factory=MiniatureOptions)
    model: ModelOptions = field(default_factory=ModelOptions)
    ground: StageOptions = field(default_factory=StageOptions)
    search: StageOptions = field(default_factory=StageOptions)
    run: RunOptions = field(default_factory=RunOptions)
    retrieval: RetrievalOptions = field(default_factory=RetrievalOptions)
    benchmark: BenchmarkOptions = field(default_factory=BenchmarkOptions)
    policy: PolicyOptions = field(default_factory=PolicyOptions)  # what all policies share: k, ...
    generation: GenerationOptions = field(default_factory=GenerationOptions)
    answer: AnswerSpan = AnswerSpan.after_last_search
    paths: PathOptions = field(default_factory=PathOptions)


def _check_at_least(least: int, section: str, options: Any, names: Sequence[str]) -> None:
    """See that numbers are large enough, where they are given.

    Raises:
        ValueError: one is not.
    """
    for name in names:
        value = getattr(options, name)
        if value not in (MISSING, None) and value < least:
            raise ValueError(f"{section}.{name}={value}: at least {least} is needed")


def _check_positive(section: str, options: Any, names: Sequence[str]) -> None:
    """See that numbers are above 0.

    Raises:
        ValueError: one is not.
    """
    for name in names:
        if getattr(options, name) <= 0:
            raise ValueError(f"{section}.{name}={getattr(options, name)}: more than 0 is needed")


def from_omegaconf(options: type[Options], composed: DictConfig | dict[str, Any]) -> Options:
    """Turn a composed configuration into a typed one.

    Raises:
        ValueError: an unknown name, a wrong type or a required value that was not given; one line
            that names the option.
    """
    try:
        # a plain container first: a typed one would bring a `+added` key along unseen
        values = OmegaConf.to_container(OmegaConf.create(composed), resolve=False)
        merged = OmegaConf.merge(OmegaConf.structured(options), values)
        return OmegaConf.to_object(merged)  # type: ignore[return-value]
    except OmegaConfBaseException as error:
        reason = str(error).splitlines()[0]
        where = getattr(error, "full_key", None)
        raise ValueError(
            f"configuration: {reason}"
            + (f" (option: {where})" if where else "")
            + f"; the options of {options.__name__} are listed in pixsearch/config.py"
        ) from error


def to_dict(options: Any) -> dict[str, Any]:
    """The plain, JSON-ready form of an options object, saved beside every checkpoint and result."""
    return OmegaConf.to_container(OmegaConf.structured(options), resolve=True, enum_to_str=True)  # type: ignore[return-value]
