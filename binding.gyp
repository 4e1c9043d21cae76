# What every install needs: the addon with the CPU backend, no CUDA. CMakeLists.txt builds the same from the same lists.
{
  'includes': ['native/sources.json'],
  'target_defaults': {
    'include_dirs': ['native/include', 'native'],
    # What Node.js itself is built with.
    'cflags_cc!': ['-fno-exceptions', '-fno-rtti', '-std=gnu++17', '-std=gnu++20'],
    'cflags_cc': ['<@(infonce_cxx_flags)'],
    'xcode_settings': {
      'CLANG_CXX_LANGUAGE_STANDARD': 'c++17',
      'GCC_ENABLE_CPP_EXCEPTIONS': 'YES',
      'GCC_OPTIMIZATION_LEVEL': '3',
      'GCC_SYMBOLS_PRIVATE_EXTERN': 'YES',
      'MACOSX_DEPLOYMENT_TARGET': '11.0',
      'OTHER_CPLUSPLUSFLAGS': ['<@(infonce_cxx_flags)'],
    },
    # The kernels are written with GCC's vector extensions, which MSVC's own compiler lacks and its Clang has.
    'msbuild_toolset': 'ClangCL',
    'msvs_settings': {
      'VCCLCompilerTool': { 'ExceptionHandling': 1 },
    },
  },
  'targets': [
    {
      'target_name': 'infonce',
      'dependencies': ['infonce_group', 'infonce_cpu'],
      'sources': ['<@(infonce_node_sources)'],
      'include_dirs': ['<!(node -p "require(\'node-addon-api\').include_dir")'],
      'defines': ['<@(infonce_node_defines)'],
      'conditions': [['OS == "linux"', { 'libraries': ['-ldl'] }]],
    },
    {
      'target_name': 'infonce_group',
      'type': 'static_library',
      'dependencies': ['infonce_cpu'],
      'sources': [
        '<@(infonce_group_sources)',
        '<@(infonce_mpi_sources)',
        '<@(infonce_nccl_sources)',
      ],
    },
    {
      'target_name': 'infonce_cpu',
      'type': 'static_library',
      'sources': ['<@(infonce_cpu_sources)'],
      'conditions': [
        ['target_arch == "x64"', {
          'dependencies': [
            'infonce_kernels_x86_64',
            'infonce_kernels_avx2',
            'infonce_kernels_avx512',
            'infonce_kernels_avx512bf16',
          ],
        }],
        ['target_arch == "arm64"', {
          'dependencies': ['infonce_kernels_neon'],
        }],
      ],
    },
  ],
  # One library for each instruction set: the same source under its own flags and in its own namespace.
  'conditions': [
    ['target_arch == "x64"', {
      'targets': [
        {
          'target_name': 'infonce_kernels_x86_64',
          'type': 'static_library',
          'sources': ['<@(infonce_float_kernels)'],
          'defines': ['INFONCE_KERNEL_NAMESPACE=x86_64'],
          'cflags_cc': ['<@(infonce_kernel_flags)'],
        },
        {
          'target_name': 'infonce_kernels_avx2',
          'type': 'static_library',
          'sources': ['<@(infonce_float_kernels)'],
          'defines': ['INFONCE_KERNEL_NAMESPACE=avx2'],
          'cflags_cc': ['<@(infonce_kernel_flags)', '<@(infonce_avx2_flags)'],
          'xcode_settings': { 'OTHER_CPLUSPLUSFLAGS': ['<@(infonce_avx2_flags)'] },
          'msvs_settings': { 'VCCLCompilerTool': { 'AdditionalOptions': ['<@(infonce_avx2_flags)'] } },
        },
        {
          'target_name': 'infonce_kernels_avx512',
          'type': 'static_library',
          'sources': ['<@(infonce_float_kernels)'],
          'defines': ['INFONCE_KERNEL_NAMESPACE=avx512'],
          'cflags_cc': ['<@(infonce_kernel_flags)', '<@(infonce_avx512_flags)'],
          'xcode_settings': { 'OTHER_CPLUSPLUSFLAGS': ['<@(infonce_avx512_flags)'] },
          'msvs_settings': { 'VCCLCompilerTool': { 'AdditionalOptions': ['<@(infonce_avx512_flags)'] } },
        },
        {
          'target_name': 'infonce_kernels_avx512bf16',
          'type': 'static_library',
          'sources': ['<@(infonce_bfloat16_kernels)'],
          'defines': ['INFONCE_KERNEL_NAMESPACE=avx512bf16'],
          'cflags_cc': ['<@(infonce_kernel_flags)', '<@(infonce_avx512_flags)', '<@(infonce_avx512bf16_flags)'],
          'xcode_settings': {
            'OTHER_CPLUSPLUSFLAGS': ['<@(infonce_avx512_flags)', '<@(infonce_avx512bf16_flags)'],
          },
          'msvs_settings': {
            'VCCLCompilerTool': {
              'AdditionalOptions': ['<@(infonce_avx512_flags)', '<@(infonce_avx512bf16_flags)'],
            },
          },
        },
      ],
    }],
    ['target_arch == "arm64"', {
      'targets': [
        {
          'target_name': 'infonce_kernels_neon',
          'type': 'static_library',
          'sources': ['<@(infonce_float_kernels)'],
          'defines': ['INFONCE_KERNEL_NAMESPACE=neon'],
          'cflags_cc': ['<@(infonce_kernel_flags)'],
        },
      ],
    }],
  ],
}
