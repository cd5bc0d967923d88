"""What options choose from."""

from enum import StrEnum


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
    replay = "replay"  # searches that were recorded (pixsearch/retrieval/recording.py)


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
    region = "region"  # one that the request brings: what `policy.detector` found


class DetectorKind(StrEnum):
    """What finds the region of `policy.forced_first=region`."""

    grounding_dino = "grounding_dino"  # Grounding DINO and SAM
    miniature = "miniature"  # trained by scripts/train_detector.py, with the miniature's segmenter


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


class OnTooLong(StrEnum):
    """What becomes of a conversation that is longer than `stage.max_length`."""

    error = "error"
    cut = "cut"  # its end is left out, as LLaVA does; an error still if that has masks or evidence


class DataAction(StrEnum):
    """What scripts/prepare_data.py does."""

    check = "check"  # see what lacks


# What becomes of an example whose record, image or mask is broken. Not a class statement: `raise`
# is a word of Python, so that it is `OnError["raise"]` in code.
OnError = StrEnum(
    "OnError",
    {
        "raise": "raise",  # an error that names it
        "quarantine": "quarantine",  # left out, counted and listed
    },
)


class Foundation(StrEnum):
    """Where the miniature's pre-trained parts come from."""

    committed = "committed"  # the weights in the repository
    scratch = "scratch"  # trained anew, in hours


class QuestionKind(StrEnum):
    """The paper's ten types of question."""

    ocr_read = "ocr_read"
    ocr_reasoning = "ocr_reasoning"
    multi_hop_knowledge = "multi_hop_knowledge"
    fine_grained_entity = "fine_grained_entity"
    visual_attribute = "visual_attribute"
    visual_counting = "visual_counting"
    visual_binary = "visual_binary"
    social_commonsense = "social_commonsense"
    physical_commonsense = "physical_commonsense"
    factoid = "factoid"


class BuildStage(StrEnum):
    """Stages of building trajectories, in their order (pixsearch/trajectories/stages/)."""

    select = "select"  # does the question need a search, and which kind is it
    decompose = "decompose"  # atomic sub-questions
    respond = "respond"  # candidate answers with searches
    choose = "choose"  # refined, and one of them
    assign = "assign"  # what each search asks with
    ground = "ground"  # masks of regions
    retrieve = "retrieve"  # evidence, and whether it supports the answer
    write = "write"  # trajectories, quarantine, counts


class TeacherKind(StrEnum):
    """Who answers the requests of the stages."""

    endpoint = "endpoint"  # an OpenAI-compatible server
    miniature = "miniature"  # rules, from the gold plans of the miniature world


class AnswerFormat(StrEnum):
    """How a server is told to answer in JSON; what it answers is checked in every case."""

    json_schema = "json_schema"  # response_format with the schema
    json_object = "json_object"  # response_format without one
    prompt = "prompt"  # by the words of the prompt alone


class Grounder(StrEnum):
    """Where the masks of phrases come from."""

    grounding_dino = "grounding_dino"  # Grounding DINO and SAM (the paper)
    checkpoint = "checkpoint"  # the mask head of a trained PixSearch
    given = "given"  # a file


class WhenSilent(StrEnum):
    """What becomes of an answer whose evidence neither supports nor contradicts it."""

    quarantine = "quarantine"
    abstain = "abstain"  # it ends behind that search with the abstention


class ImageStorage(StrEnum):
    """How images come into the folder of trajectories."""

    link = "link"  # symbolic links to the sources' files; those without a file are written
    copy = "copy"
