"""The words around the turns of a conversation, as each family of backbones was trained on."""

from dataclasses import dataclass, replace

from pixsearch.config import ChatStyle


@dataclass(frozen=True, kw_only=True)
class ChatTemplate:
    """The fixed words around the turns; the tokenizer's own added tokens may be among them.

        system turn*
        turn := user [before_image image after_image] question before_answer answer end after_answer

    The default is LLaVA's `llava_v1` without system text.

    Attributes:
        answer_space: stands before an answer that begins with words, as part of the answer.
        end_words: with which the backbone was trained to end an answer where these are no token; an
            answer is over as soon as they are written, and they are none of its text.
        restate_question: evidence ends with the question once more. A model that reads from left to
            right then knows what it is to find ("query-aware contextualization" of Liu et al. 2023,
            Lost in the Middle, section 4.2).
    """

    system: str = ""
    user: str = "USER:"
    before_image: str = ""
    after_image: str = ""
    before_answer: str = " ASSISTANT:"
    answer_space: str = " "
    after_answer: str = ""
    end_words: str = ""
    restate_question: bool = False


VICUNA = (
    "A chat between a curious human and an artificial intelligence assistant. "
    "The assistant gives helpful, detailed, and polite answers to the human's questions. "
)  # the system text that LLaVA took over
_HELPFUL = "<|im_start|>system\nYou are a helpful assistant.<|im_end|>\n"
_CHATML = ChatTemplate(
    user="<|im_start|>user\n",
    before_answer="<|im_end|>\n<|im_start|>assistant\n",
    answer_space="",
    after_answer="\n",
)

TEMPLATES: dict[ChatStyle, ChatTemplate] = {
    ChatStyle.plain: ChatTemplate(),
    ChatStyle.llava_v1: ChatTemplate(system=VICUNA, user="USER: ", after_image="\n"),
    # The slow tokenizers of their time took blanks and line ends beside added tokens away.
    ChatStyle.lisa: ChatTemplate(system=VICUNA, before_image="<im_start>", after_image="<im_end> "),
    ChatStyle.glamm: ChatTemplate(
        system=VICUNA,
        before_image=" The<im_start>",
        after_image="<im_end> provides an overview of the picture.\n",
    ),
    ChatStyle.llava_onevision: replace(_CHATML, system=_HELPFUL, after_image="\n"),
    ChatStyle.qwen2_5_vl: replace(
        _CHATML,
        system=_HELPFUL,
        before_image="<|vision_start|>",
        after_image="<|vision_end|>",
    ),
    ChatStyle.qwen3_vl: replace(
        _CHATML, before_image="<|vision_start|>", after_image="<|vision_end|>"
    ),
    ChatStyle.internvl: replace(_CHATML, before_image="<img>", after_image="</img>\n"),
    # No tokens of Qwen2.5's: they were trained, and are written here, in pieces.
    ChatStyle.sa2va_phi3: ChatTemplate(
        user="<|user|>\n",
        before_image="<img>",
        after_image="</img>\n",
        before_answer="<|end|>\n<|assistant|>\n",
        answer_space="",
        after_answer="\n",
        end_words="<|end|>",
    ),
}
