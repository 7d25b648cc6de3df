"""What vLLM loads of led_rl: the entry point `vllm.general_plugins`, run in the API server, the engine core and every
worker. It adds architectures under names of their own; models served without LED are untouched.
"""

# Text families whose class in vLLM 0.31 to 0.32 hands out layer outputs (`SupportsEagle3`); a test compares the list
# with the vLLM installed. Without MiMoForCausalLM, which says so and hands out none.
ARCHITECTURES = (
    "AfmoeForCausalLM",
    "ApertusForCausalLM",
    "Cohere2MoeForCausalLM",
    "DeepseekForCausalLM",
    "DeepseekV2ForCausalLM",
    "DeepseekV32ForCausalLM",
    "DeepseekV3ForCausalLM",
    "DeepseekV4ForCausalLM",
    "Ernie4_5ForCausalLM",
    "Gemma4ForCausalLM",
    "GlmMoeDsaForCausalLM",
    "GptOssForCausalLM",
    "GraniteForCausalLM",
    "GraniteSWAForCausalLM",
    "IQuestCoderForCausalLM",
    "InternLM3ForCausalLM",
    "K2HorizonForCausalLM",
    "KimiLinearForCausalLM",
    "LLaMAForCausalLM",
    "LagunaForCausalLM",
    "Llama4ForCausalLM",
    "LlamaForCausalLM",
    "MiMoV2FlashForCausalLM",
    "MiMoV2ForCausalLM",
    "MiniCPM3ForCausalLM",
    "MiniCPMForCausalLM",
    "MiniMaxM2ForCausalLM",
    "Ministral3ForCausalLM",
    "MistralForCausalLM",
    "MistralLarge3ForCausalLM",
    "NemotronHForCausalLM",
    "NemotronHPuzzleForCausalLM",
    "Phi3ForCausalLM",
    "Plamo3ForCausalLM",
    "Qwen2ForCausalLM",
    "Qwen3ForCausalLM",
    "Qwen3MoeForCausalLM",
    "Qwen3NextForCausalLM",
    "Qwen3_5ForCausalLM",
    "Qwen3_5MoeForCausalLM",
    "SarvamMLAForCausalLM",
    "Step1ForCausalLM",
    "TeleChat2ForCausalLM",
    "TeleChat3ForCausalLM",
    "TeleFLMForCausalLM",
)
PREFIX = "Led"
READOUT_VALUES = 2**27  # logits held at once by a readout: 0.5 GiB in float32


def register() -> None:
    """Make `Led<Architecture>` known for each family above that this vLLM has, and configured as that family is."""
    from vllm import ModelRegistry
    from vllm.model_executor.models.config import MODELS_CONFIG_MAP

    supported = ModelRegistry.get_supported_archs()
    for name in ARCHITECTURES:
        if name in supported and PREFIX + name not in supported:
            ModelRegistry.register_model(PREFIX + name, f"led_rl.serving.model:{PREFIX}{name}")
        # vLLM configures some families by their architecture's name (cache blocks, attention, quantization).
        if name in MODELS_CONFIG_MAP:
            MODELS_CONFIG_MAP[PREFIX + name] = MODELS_CONFIG_MAP[name]
